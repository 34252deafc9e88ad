# The C++ package: headers, library, CMake's files and pkg-config's. The components `runtime`, which
# holds a shared library, and `development`; the Python package is the component `python`.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/aruba_fast)
# Before 1.0 a minor version may change what there is.
set(ARUBA_SOVERSION ${PROJECT_VERSION_MAJOR})
set(compatibility SameMajorVersion)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  string(APPEND ARUBA_SOVERSION .${PROJECT_VERSION_MINOR})
  set(compatibility SameMinorVersion)
endif()
set_target_properties(aruba_core PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${ARUBA_SOVERSION})

set(ARUBA_NEEDS_OPENMP OFF)
set(ARUBA_PC_CFLAGS "")
set(ARUBA_PC_LIBS "")
if(NOT BUILD_SHARED_LIBS)
  set(ARUBA_NEEDS_OPENMP ${OpenMP_CXX_FOUND})
  set(ARUBA_PC_CFLAGS " -DARUBA_FAST_STATIC")
  if(OpenMP_CXX_FOUND)
    set(ARUBA_PC_LIBS " ${OpenMP_CXX_FLAGS}")
  endif()
endif()

set(targets aruba_core)
set(no_cuda PATTERN cuda.h EXCLUDE)
if(ARUBA_CUDA)
  list(APPEND targets aruba_cuda)
  set(no_cuda "")
endif()
install(TARGETS ${targets} EXPORT aruba_fast
  RUNTIME COMPONENT runtime
  LIBRARY COMPONENT runtime NAMELINK_COMPONENT development
  ARCHIVE COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/aruba_fast DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development FILES_MATCHING PATTERN "*.h" ${no_cuda})
install(EXPORT aruba_fast NAMESPACE aruba_fast:: FILE aruba_fastTargets.cmake
  DESTINATION ${package_dir} COMPONENT development)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/aruba_fastConfig.cmake.in
  ${PROJECT_BINARY_DIR}/aruba_fastConfig.cmake INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/aruba_fastConfigVersion.cmake
  COMPATIBILITY ${compatibility})
install(FILES ${PROJECT_BINARY_DIR}/aruba_fastConfig.cmake
  ${PROJECT_BINARY_DIR}/aruba_fastConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT development)

# Found wherever the whole is moved to.
file(RELATIVE_PATH ARUBA_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/aruba_fast.pc.in ${PROJECT_BINARY_DIR}/aruba_fast.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/aruba_fast.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT development)
