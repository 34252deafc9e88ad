// Objects of the caller, whose own code runs when they are asked for something: it may raise.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "array.h"

namespace aruba_fast::python {

std::string type_name(pybind11::handle object);

// A class of a library, if the program uses that library at all.
bool is_instance_of(pybind11::handle object, const char* library, const char* name);

// The attribute, or nothing where there is none. What is no failure to answer, such as Ctrl-C, is
// thrown; pybind11's hasattr would swallow it.
pybind11::object attribute(pybind11::handle object, const char* name);

// Goes on with an exception that is not about the object: Ctrl-C, exit, a lack of memory.
void require_failure(const pybind11::error_already_set& error);

// TypeError, "function: `argument` must ...", with the object's own exception as its reason.
[[noreturn]] void refuse_because(pybind11::error_already_set& cause, const char* function,
                                 const std::string& subject, const std::string& rule,
                                 const std::string& got);

// What body, which asks `object` for something, returns; its failures become the sentence.
template <class Body>
auto asked(const char* function, const Array& array, const char* rule, pybind11::handle object,
           Body body) {
  try {
    return body();
  } catch (pybind11::error_already_set& error) {
    refuse_because(error, function, array.quoted(), rule, type_name(object));
  } catch (const pybind11::builtin_exception& error) {  // an answer of another type
    refuse<TypeError>(function, array.quoted(), rule,
                      type_name(object) + " (" + std::string(error.what()) + ")");
  }
}

bool is_number(pybind11::handle object);
double number(const char* function, const char* name, pybind11::handle object);

}  // namespace aruba_fast::python
