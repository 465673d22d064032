# find_package(mumoe) for other LibTorch programs: mumoe::layer, and mumoe::model
# on top of it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS mumoe_base mumoe_dist mumoe_layer mumoe_model EXPORT mumoeTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS mumoe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT mumoeTargets NAMESPACE mumoe:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
# Found at the time of installing, by what the headers then include.
install(CODE "set(source \"${CMAKE_SOURCE_DIR}\")")
install(SCRIPT cmake/InstallHeaders.cmake)
configure_package_config_file(cmake/mumoeConfig.cmake.in ${CMAKE_BINARY_DIR}/mumoeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mumoeConfig.cmake ${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake
  cmake/FindLibTorch.cmake cmake/FindNCCL.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
