# Tests of the gate; include from this folder's CMakeLists.txt.
mumoe_test(kernels_gate SOURCES kernels_gate_test.cpp LINK mumoe::layer)
mumoe_test(kernels_golden SOURCES kernels_golden_test.cpp
           LINK mumoe::layer nlohmann_json::nlohmann_json LABELS golden)
# Defines the GPU's functions itself, from gate.cu.
mumoe_test(kernels_cuda_emulation SOURCES kernels_cuda_emulation_test.cpp LINK mumoe::layer)
target_compile_options(test_kernels_cuda_emulation PRIVATE -Wno-unknown-pragmas)
mumoe_test(gate TORCH SOURCES gate_test.cpp LINK mumoe::layer)
if(MUMOE_HAS_CUDA)
  mumoe_test(kernels_gpu TORCH SOURCES kernels_gpu_test.cpp LINK mumoe::layer LABELS gpu)
endif()
