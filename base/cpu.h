#pragma once

#include <string>
#include <string_view>

namespace mumoe {

/// Instruction sets for which kernels are compiled, best last. avx512_bf16:
/// with conversions to bf16; only kernels that store much of it are compiled
/// for it.
enum class Isa { portable, avx2, avx512, avx512_bf16 };

/// The best set that this CPU and operating system run. `MUMOE_ISA` in the
/// environment (portable, avx2, avx512, avx512_bf16) lowers it, for tests;
/// asking for more than the CPU has, or for an unknown name, is an
/// `InputError`.
Isa best_isa();

/// Whether matrix multiplication in bf16 is native here (AMX or AVX512-BF16).
/// Elsewhere bf16 is emulated and an order of magnitude slower than fp32.
bool cpu_multiplies_bf16();

/// Who made this CPU, "AuthenticAMD" or "GenuineIntel"; empty: not known.
std::string cpu_vendor();

/// What tells this kind of CPU from others: vendor, family, model and stepping
/// in one number, and the name it gives itself.
std::string cpu_name();

std::string_view to_string(Isa isa);

}  // namespace mumoe
