# LibTorch::cpu (and LibTorch::cuda when CUDA is compiled in) as plain imported
# targets. Torch's own package refuses a CUDA-built wheel on a machine without
# the toolkit, and sets global flags.
#
# TORCH_DIR (variable or environment) names the folder; without it, it is where launch/setup puts it, or where it was
# found before. LibTorch_PROBLEM: why it was not found, on one line.
set(LibTorch_PROBLEM "")
set(_library libtorch_cpu.so)
if(MUMOE_HAS_CUDA)
  set(_library libtorch_cuda.so)
endif()
set(_named "${TORCH_DIR}")
if(NOT _named)
  set(_named "$ENV{TORCH_DIR}")
endif()
if(_named)
  # Never another one instead.
  if(IS_ABSOLUTE "${_named}" AND EXISTS "${_named}/include/ATen/core/Tensor.h" AND EXISTS "${_named}/lib/${_library}")
    set(LibTorch_ROOT_DIR "${_named}" CACHE PATH "Where LibTorch is" FORCE)
  else()
    unset(LibTorch_ROOT_DIR CACHE)
    set(LibTorch_PROBLEM
        "TORCH_DIR=${_named}: expected the absolute path of a folder with include/ATen and lib/${_library}")
  endif()
else()
  set(_cache "$ENV{MUMOE_CACHE}")
  if(NOT _cache)
    if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
      set(_cache "$ENV{XDG_CACHE_HOME}/mumoe")
    else()
      set(_cache "$ENV{HOME}/.cache/mumoe")
    endif()
  endif()
  find_path(LibTorch_ROOT_DIR include/ATen/core/Tensor.h HINTS ${_cache}/libtorch-2.11.0/torch NO_DEFAULT_PATH)
  if(NOT EXISTS "${LibTorch_ROOT_DIR}/lib/${_library}")
    set(_way_out "run launch/setup, or set TORCH_DIR to a torch folder with include/ and lib/")
    set(LibTorch_PROBLEM "no lib/${_library} in ${_cache}/libtorch-2.11.0/torch: ${_way_out}")
    unset(LibTorch_ROOT_DIR CACHE)
  endif()
endif()
set(LibTorch_VERSION "")
set(LibTorch_LIBRARY_DIR "")
if(NOT LibTorch_PROBLEM)
  set(LibTorch_LIBRARY_DIR ${LibTorch_ROOT_DIR}/lib)
  set(_header ${LibTorch_ROOT_DIR}/include/torch/headeronly/version.h)
  if(NOT EXISTS ${_header})
    set(_header ${LibTorch_ROOT_DIR}/include/torch/version.h)
  endif()
  file(STRINGS ${_header} _lines REGEX "TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX MATCHALL "[0-9]+" _numbers "${_lines}")
  list(JOIN _numbers "." LibTorch_VERSION)
  set(LibTorch_PROBLEM "${LibTorch_ROOT_DIR} has ${LibTorch_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT_DIR LibTorch_LIBRARY_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "${LibTorch_PROBLEM}")

function(_libtorch_import name file)
  if(NOT TARGET LibTorch::${name})
    add_library(LibTorch::${name} SHARED IMPORTED)
    set_target_properties(LibTorch::${name} PROPERTIES
      IMPORTED_LOCATION ${LibTorch_LIBRARY_DIR}/${file}
      INTERFACE_INCLUDE_DIRECTORIES
        "${LibTorch_ROOT_DIR}/include;${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
  endif()
endfunction()
if(LibTorch_FOUND)
  _libtorch_import(c10 libc10.so)
  _libtorch_import(torch_cpu libtorch_cpu.so)
  # The wheel's own OpenMP run-time: a second one would double the threads.
  _libtorch_import(gomp libgomp.so.1)
  # LibTorch's headers bring their own {fmt}, which hides the system's: all of mumoe uses it, libraries without
  # tensors too. What is not in its headers is in base/fmt.cpp.
  if(NOT TARGET LibTorch::fmt)
    add_library(LibTorch::fmt INTERFACE IMPORTED)
    set_target_properties(LibTorch::fmt PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${LibTorch_ROOT_DIR}/include)
  endif()
  if(NOT TARGET LibTorch::cpu)
    add_library(LibTorch::cpu INTERFACE IMPORTED)
    set_target_properties(LibTorch::cpu PROPERTIES
      INTERFACE_LINK_LIBRARIES "LibTorch::torch_cpu;LibTorch::c10;LibTorch::gomp;LibTorch::fmt")
  endif()
  if(MUMOE_HAS_CUDA AND NOT TARGET LibTorch::cuda)
    _libtorch_import(c10_cuda libc10_cuda.so)
    _libtorch_import(torch_cuda libtorch_cuda.so)
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    # torch_cuda registers its kernels when it is loaded; nothing names it, so
    # the linker must be told to keep it.
    set_target_properties(LibTorch::cuda PROPERTIES
      INTERFACE_LINK_LIBRARIES "LibTorch::cpu;LibTorch::torch_cuda;LibTorch::c10_cuda"
      INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed")
  endif()
endif()
