# Installs the headers that a user of mumoe::layer and mumoe::model includes, and what these include in turn; nothing of
# kernels and backends. Includes begin with the folder's name ("mumoe/block.h"), as in this tree.
cmake_minimum_required(VERSION 3.25)
set(headers
  mumoe/block.h mumoe/layer.h mumoe/rank_matching.h
  model/gpt2.h model/cross_entropy.h model/generate.h
  dist/mpi/mpi_runtime.h dist/self_communicator.h dist/process_mesh.h dist/params/flat_buckets.h dist/params/gradient_reducer.h)
set(done "")
while(headers)
  list(POP_FRONT headers header)
  if(header IN_LIST done)
    continue()
  endif()
  list(APPEND done ${header})
  get_filename_component(folder ${header} DIRECTORY)
  file(INSTALL "${source}/${header}" DESTINATION "${CMAKE_INSTALL_PREFIX}/include/mumoe/${folder}")
  file(STRINGS "${source}/${header}" lines REGEX "^#include \"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^#include \"(.*)\".*" "\\1" included "${line}")
    list(APPEND headers ${included})
  endforeach()
endwhile()
