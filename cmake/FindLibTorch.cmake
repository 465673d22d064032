# LibTorch::cpu (and LibTorch::cuda when CUDA is compiled in) as plain imported
# targets. Torch's own package refuses a CUDA-built wheel on a machine without
# the toolkit, and sets global flags.
#
# Looked for in TORCH_DIR (variable or environment), then where launch/setup
# puts it.
set(_cache "$ENV{MUMOE_CACHE}")
if(NOT _cache)
  if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
    set(_cache "$ENV{XDG_CACHE_HOME}/mumoe")
  else()
    set(_cache "$ENV{HOME}/.cache/mumoe")
  endif()
endif()
find_path(LibTorch_ROOT_DIR include/ATen/core/Tensor.h
          HINTS ${TORCH_DIR} $ENV{TORCH_DIR} ${_cache}/libtorch-2.11.0/torch NO_DEFAULT_PATH)
set(LibTorch_LIBRARY_DIR ${LibTorch_ROOT_DIR}/lib)
if(EXISTS ${LibTorch_ROOT_DIR}/include/torch/headeronly/version.h)
  file(STRINGS ${LibTorch_ROOT_DIR}/include/torch/headeronly/version.h _lines REGEX "TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
elseif(LibTorch_ROOT_DIR)
  file(STRINGS ${LibTorch_ROOT_DIR}/include/torch/version.h _lines REGEX "TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
endif()
string(REGEX MATCHALL "[0-9]+" _numbers "${_lines}")
list(JOIN _numbers "." LibTorch_VERSION)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT_DIR LibTorch_LIBRARY_DIR VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run launch/setup, or set TORCH_DIR to a torch folder with include/ and lib/")

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
  # tensors too.
  if(NOT TARGET LibTorch::fmt)
    add_library(LibTorch::fmt INTERFACE IMPORTED)
    set_target_properties(LibTorch::fmt PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${LibTorch_ROOT_DIR}/include
      INTERFACE_COMPILE_DEFINITIONS FMT_HEADER_ONLY)
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
