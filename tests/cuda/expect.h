// Expectations of the C++ tests: every failure is printed, and `report` says how many there were.
#pragma once

#include <cstdio>
#include <exception>
#include <iostream>
#include <source_location>
#include <string>

inline int n_expected = 0, n_failed = 0;

inline void expect(bool holds, const std::string& what,
                   std::source_location at = std::source_location::current()) {
  ++n_expected;
  if (holds) return;
  ++n_failed;
  std::cerr << at.file_name() << ":" << at.line() << ": " << what << "\n";
}

template <class T>
void expect_equal(T got, T expected, std::source_location at = std::source_location::current()) {
  expect(got == expected, "got " + std::to_string(got) + ", expected " + std::to_string(expected),
         at);
}

template <class Error, class Body>
void expect_throw(const std::string& text, Body body,
                  std::source_location at = std::source_location::current()) {
  try {
    body();
  } catch (const Error& error) {
    const bool found = std::string(error.what()).find(text) != std::string::npos;
    return expect(found, "got the message: " + std::string(error.what()), at);
  }
  expect(false, "expected an exception: " + text, at);
}

// Runs a test; its exit status. An exception that nobody expected is a failure like any other.
template <class Body>
int report(const char* name, Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    expect(false, error.what());
  }
  std::printf("%s: %d expectations, %d failed\n", name, n_expected, n_failed);
  return n_failed == 0 && n_expected > 0 ? 0 : 1;
}
