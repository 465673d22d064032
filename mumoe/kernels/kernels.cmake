# mumoe_add_gate(TARGET): the gate and its kernels, for the library TARGET of
# this folder. Include from the folder's CMakeLists.txt.
function(mumoe_add_gate target)
  target_sources(${target} PRIVATE gate.cpp kernels/gate.cpp)
  # No fused multiply-adds: values are the same on every instruction set.
  set_source_files_properties(kernels/gate_cpu.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
  mumoe_kernels(${target} kernels/gate_cpu.cpp)
  mumoe_cuda_or_stub(${target} kernels/gate.cu kernels/gate_cuda_stub.cpp)
endfunction()

# mumoe_cuda_or_stub(TARGET FILE.cu STUB.cpp): the one with CUDA, the other
# without. Warnings and spilt registers are errors.
function(mumoe_cuda_or_stub target cuda stub)
  if(MUMOE_HAS_CUDA)
    target_sources(${target} PRIVATE ${cuda})
    set_source_files_properties(${cuda} PROPERTIES COMPILE_OPTIONS
      "-Werror=all-warnings;-Xptxas=--warn-on-spills,--warning-as-error")
  else()
    target_sources(${target} PRIVATE ${stub})
  endif()
endfunction()
