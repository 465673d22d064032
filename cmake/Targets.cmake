# mumoe_library(NAME [TORCH] SOURCES ... LINK ...): the static library of one
# folder. TORCH gives it LibTorch and the shared precompiled header.
function(mumoe_library name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_library(mumoe_${name} STATIC ${arg_SOURCES})
  add_library(mumoe::${name} ALIAS mumoe_${name})
  set_target_properties(mumoe_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(mumoe_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/mumoe>)
  target_link_libraries(mumoe_${name} PUBLIC ${arg_LINK})
  target_compile_features(mumoe_${name} PUBLIC cxx_std_20)
  if(arg_TORCH)
    mumoe_use_torch(mumoe_${name} PUBLIC)
  endif()
endfunction()

# LibTorch's headers cost 14 to 20 s a file: parsed once here, for all.
if(MUMOE_HAS_CUDA)
  set(MUMOE_TORCH LibTorch::cuda)
elseif(MUMOE_CUDA STREQUAL "SIMULATED")
  set(MUMOE_TORCH LibTorch::cpu $<BUILD_INTERFACE:mumoe_sim_torch>)
else()
  set(MUMOE_TORCH LibTorch::cpu)
endif()
file(WRITE ${CMAKE_BINARY_DIR}/pch/pch.cpp.in "// Holds the precompiled header.\n")
configure_file(${CMAKE_BINARY_DIR}/pch/pch.cpp.in ${CMAKE_BINARY_DIR}/pch/pch.cpp COPYONLY)
add_library(mumoe_pch OBJECT ${CMAKE_BINARY_DIR}/pch/pch.cpp)
target_link_libraries(mumoe_pch PRIVATE LibTorch::cpu)
target_precompile_headers(mumoe_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/torch_pch.h)
# What it is made from beside flags, which are every file's own: by this the
# compiler cache knows it, and does not read 400 MB for each file.
set(header ${CMAKE_SOURCE_DIR}/cmake/torch_pch.h)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
file(SHA256 ${header} sum)
file(SHA256 ${LibTorch_ROOT_DIR}/include/ATen/Functions.h functions)
file(WRITE ${CMAKE_BINARY_DIR}/CMakeFiles/mumoe_pch.dir/cmake_pch.hxx.gch.sum
  "${sum} LibTorch ${LibTorch_VERSION} ${functions} ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\n")

function(mumoe_use_torch target scope)
  target_link_libraries(${target} ${scope} ${MUMOE_TORCH})
  target_precompile_headers(${target} REUSE_FROM mumoe_pch)
endfunction()

# mumoe_messages(TARGET FILE.proto...): the messages of a folder, as FOLDER/FILE.pb.h, for its own sources.
function(mumoe_messages target)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  set(generated ${CMAKE_BINARY_DIR}/messages)
  file(MAKE_DIRECTORY ${generated})
  # LibTorch's headers have a google/protobuf of their own, of another version.
  pkg_get_variable(headers protobuf-lite includedir)
  file(CREATE_LINK ${headers}/google ${generated}/google SYMBOLIC)
  foreach(file ${ARGN})
    cmake_path(REMOVE_EXTENSION file OUTPUT_VARIABLE name)
    set(made ${generated}/${folder}/${name}.pb)
    add_custom_command(OUTPUT ${made}.cc ${made}.h
      COMMAND ${MUMOE_PROTOC} --proto_path=${CMAKE_SOURCE_DIR} --cpp_out=${generated} ${folder}/${file}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} VERBATIM)
    set_source_files_properties(${made}.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -w)
    target_sources(${target} PRIVATE ${made}.cc ${made}.h)
  endforeach()
  target_include_directories(${target} SYSTEM BEFORE PRIVATE ${generated})
  target_link_libraries(${target} PRIVATE PkgConfig::PROTOBUF)
endfunction()

# mumoe_kernels(TARGET FILE... [BF16 FILE...]): compiles each file once per
# instruction set, with MUMOE_ISA set to avx512, avx2 or portable; those after
# BF16 also to avx512_bf16. A file defines a row of its family's table in the
# namespace of that name (mumoe/kernels/table.h); the row is chosen at run time,
# so that one binary runs everywhere.
function(mumoe_kernels target)
  set(flags_portable "")
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c
      -mprefer-vector-width=512)
  set(flags_avx512_bf16 ${flags_avx512} -mavx512bf16)
  cmake_parse_arguments(arg "" "" "BF16" ${ARGN})
  foreach(file ${arg_UNPARSED_ARGUMENTS} ${arg_BF16})
    get_filename_component(stem ${file} NAME_WE)
    set(sets portable avx2 avx512)
    if(file IN_LIST arg_BF16)
      list(APPEND sets avx512_bf16)
    endif()
    foreach(isa ${sets})
      set(object mumoe_${stem}_${isa})
      add_library(${object} OBJECT ${file})
      target_include_directories(${object} PRIVATE ${CMAKE_SOURCE_DIR})
      target_compile_definitions(${object} PRIVATE MUMOE_ISA=${isa})
      # -ffast-math would lose NaN; these two let the compiler vectorise sums
      # and square roots and keep IEEE values otherwise.
      target_compile_options(${object} PRIVATE -O3 ${flags_${isa}} -fno-math-errno -fno-trapping-math)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
    endforeach()
  endforeach()
endfunction()

# mumoe_cuda_rows(TARGET TABLES.cpp FILE.cu...): with CUDA, compiles the files and
# lets the tables have their rows. Warnings and spilt registers are errors.
function(mumoe_cuda_rows target tables)
  set_source_files_properties(${tables} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  if(MUMOE_HAS_CUDA)
    set_source_files_properties(${tables} PROPERTIES COMPILE_DEFINITIONS MUMOE_WITH_CUDA)
    target_sources(${target} PRIVATE ${ARGN})
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS
      "-Werror=all-warnings;-Xptxas=--warn-on-spills,--warning-as-error")
  elseif(MUMOE_CUDA STREQUAL "SIMULATED")
    set_source_files_properties(${tables} PROPERTIES COMPILE_DEFINITIONS MUMOE_WITH_CUDA)
    target_sources(${target} PRIVATE ${ARGN})
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS
      "-xc++;-include;${CMAKE_SOURCE_DIR}/tests/fakes/sim_launch.h;-Wno-unknown-pragmas")
  endif()
endfunction()

# mumoe_gpu_test(NAME ...): a test that needs GPUs, with the arguments of mumoe_test: labelled gpu where CUDA is compiled
# in, sim in a build with simulated ones.
function(mumoe_gpu_test name)
  if(MUMOE_HAS_CUDA)
    mumoe_test(${name} ${ARGN} LABELS gpu)
    if(TARGET test_${name})
      add_dependencies(gpu_tests test_${name})
    endif()
  elseif(MUMOE_CUDA STREQUAL "SIMULATED")
    mumoe_test(${name} ${ARGN} LABELS sim)
    target_include_directories(test_${name} SYSTEM PRIVATE ${MUMOE_CUDA_HEADERS} ${MUMOE_NCCL_HEADERS})
    add_dependencies(sim_tests test_${name})
  endif()
endfunction()

# mumoe_test(NAME [TORCH] SOURCES ... LINK ... [RANKS n...] [THREADS] [LABELS ...]
#            [TIMEOUT s]): one gtest binary. Without RANKS one ctest entry; with
# RANKS one entry per count, started by mpirun. THREADS adds the label of the
# suite that ThreadSanitizer runs.
function(mumoe_test name)
  cmake_parse_arguments(arg "TORCH;THREADS" "TIMEOUT" "SOURCES;LINK;RANKS;LABELS" ${ARGN})
  if(arg_RANKS AND NOT MUMOE_MPI)
    return()
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  if(arg_RANKS)
    set(main mumoe_mpi_test_main)
  else()
    set(main mumoe_test_main)
  endif()
  if(arg_TORCH)
    list(PREPEND arg_LINK mumoe_thread_ranks)
  endif()
  target_link_libraries(test_${name} PRIVATE ${main} ${arg_LINK} GTest::gtest)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  if(arg_TORCH)
    mumoe_use_torch(test_${name} PRIVATE)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set(labels ${arg_LABELS})
  if(arg_THREADS)
    list(APPEND labels threads)
    add_dependencies(thread_tests test_${name})
  endif()
  if(arg_RANKS)
    foreach(ranks ${arg_RANKS})
      set(cores 2)
      if(ranks EQUAL 1)
        set(cores 1)
      endif()
      add_test(NAME ${name}_np${ranks}
               COMMAND ${CMAKE_SOURCE_DIR}/launch/mpirun -n ${ranks} $<TARGET_FILE:test_${name}>)
      set_tests_properties(${name}_np${ranks} PROPERTIES TIMEOUT ${arg_TIMEOUT}
                           LABELS "${labels};mpi" PROCESSORS ${cores} ENVIRONMENT "${MUMOE_TEST_ENVIRONMENT}")
    endforeach()
  else()
    add_test(NAME ${name} COMMAND test_${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${labels}"
                         ENVIRONMENT "${MUMOE_TEST_ENVIRONMENT}")
  endif()
endfunction()
