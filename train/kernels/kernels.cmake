# mumoe_add_adamw(TARGET): the optimizer's kernels, for the library TARGET of
# this folder. Include from the folder's CMakeLists.txt.
function(mumoe_add_adamw target)
  target_sources(${target} PRIVATE kernels/adamw.cpp)
  # No fused multiply-adds: values are the same on every instruction set.
  set_source_files_properties(kernels/adamw_cpu.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
  mumoe_kernels(${target} kernels/adamw_cpu.cpp)
  mumoe_cuda_or_stub(${target} kernels/adamw.cu kernels/adamw_cuda_stub.cpp)
endfunction()
