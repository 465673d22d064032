# find_package(mumoe) for other LibTorch programs: mumoe::layer, and mumoe::model on top of it as a component of its
# own, since it takes MPI and more.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/mumoe)
set(headers mumoe/module.h mumoe/layer.h mumoe/rank_matching.h mumoe/safetensors.h
  dist/self_communicator.h dist/params/flat_buckets.h)
install(TARGETS mumoe_base mumoe_contract mumoe_layer EXPORT mumoeLayer ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mumoeLayer NAMESPACE mumoe:: DESTINATION ${folder})
if(NOT MUMOE_LAYER_ONLY)
  list(APPEND headers model/gpt2.h model/cross_entropy.h model/generate.h model/weights.h
    dist/mpi/mpi_runtime.h dist/process_mesh.h dist/params/gradient_reducer.h)
  install(TARGETS mumoe_dist mumoe_model EXPORT mumoeModel ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT mumoeModel NAMESPACE mumoe:: DESTINATION ${folder})
  install(TARGETS mumoe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
# Found at the time of installing, by what the headers then include.
install(CODE "set(source \"${CMAKE_SOURCE_DIR}\")\nset(headers \"${headers}\")")
install(SCRIPT cmake/InstallHeaders.cmake)
configure_package_config_file(cmake/mumoeConfig.cmake.in ${CMAKE_BINARY_DIR}/mumoeConfig.cmake
  INSTALL_DESTINATION ${folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/mumoeConfig.cmake ${CMAKE_BINARY_DIR}/mumoeConfigVersion.cmake
  cmake/FindLibTorch.cmake cmake/FindNCCL.cmake DESTINATION ${folder})
