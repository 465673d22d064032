# Tests of the optimizer's kernels; include from this folder's CMakeLists.txt.
# Defines the GPU's functions itself, from adamw.cu.
mumoe_test(adamw_kernel SOURCES adamw_kernel_test.cpp LINK mumoe::train)
target_compile_options(test_adamw_kernel PRIVATE -Wno-unknown-pragmas)
