#include "mumoe/kernels/combine.h"
#include "mumoe/kernels/gate.h"
#include "mumoe/kernels/gelu.h"
#include "mumoe/kernels/norm.h"

namespace mumoe::kernels {
namespace {

constexpr Nothing nothing;
constexpr GateRow kGateMeta = {{nothing, nothing},
                               {nothing, nothing},
                               {nothing, nothing}};
constexpr CombineRow kCombineMeta = {{nothing, nothing, nothing},
                                     {nothing, nothing, nothing},
                                     {nothing, nothing, nothing}};
constexpr MixingRow kMixingMeta = {{nothing}, {nothing}, {nothing}};
constexpr GeluRow kGeluMeta = {{nothing, nothing},
                               {nothing, nothing},
                               {nothing, nothing}};
constexpr NormRow kNormMeta = {{nothing, nothing},
                               {nothing, nothing},
                               {nothing, nothing}};

}  // namespace

const GateTable gate_kernels = {{&portable::gate_row,
                                 &avx2::gate_row,
                                 &avx512::gate_row,
                                 &avx512::gate_row},
                                MUMOE_CUDA_ROW(gate_row),
                                &kGateMeta};

const CombineTable combine_kernels = {{&portable::combine_row,
                                       &avx2::combine_row,
                                       &avx512::combine_row,
                                       &avx512_bf16::combine_row},
                                      MUMOE_CUDA_ROW(combine_row),
                                      &kCombineMeta};

const MixingTable mixing_kernels = {{&portable::mixing_row,
                                     &avx2::mixing_row,
                                     &avx512::mixing_row,
                                     &avx512_bf16::mixing_row},
                                    nullptr,
                                    &kMixingMeta};

const GeluTable gelu_kernels = {{&portable::gelu_row,
                                 &avx2::gelu_row,
                                 &avx512::gelu_row,
                                 &avx512_bf16::gelu_row},
                                MUMOE_CUDA_ROW(gelu_row),
                                &kGeluMeta};

// On a CPU norms are LibTorch's.
const NormTable norm_kernels = {{nullptr, nullptr, nullptr, nullptr},
                                MUMOE_CUDA_ROW(norm_row),
                                &kNormMeta};

ScratchMemory::ScratchMemory(std::int64_t values)
    : data(new double[static_cast<std::size_t>(values)]()) {}

ScratchMemory::~ScratchMemory() {
  delete[] data;
}

}  // namespace mumoe::kernels
