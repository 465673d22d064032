# find_package(mumoe) for other LibTorch programs: mumoe::layer is the layer
# alone, mumoe::train everything.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
get_property(libraries GLOBAL PROPERTY MUMOE_LIBRARIES)
install(TARGETS ${libraries} EXPORT mumoeTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS mumoe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(EXPORT mumoeTargets NAMESPACE mumoe:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
# Includes begin with the folder's name ("mumoe/block.h"), as in this tree.
foreach(folder base dist mumoe data model run train)
  install(DIRECTORY ${folder} DESTINATION include/mumoe FILES_MATCHING PATTERN "*.h")
endforeach()
configure_package_config_file(cmake/mumoeConfig.cmake.in ${CMAKE_BINARY_DIR}/mumoeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mumoeConfig.cmake ${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake
  cmake/FindLibTorch.cmake cmake/FindNCCL.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
