#include "model/kernels/cross_entropy.h"

namespace mumoe::model {
namespace {

constexpr kernels::Nothing nothing;
constexpr CrossEntropyRow kMeta = {{nothing, nothing, nothing},
                                   {nothing, nothing, nothing},
                                   {nothing, nothing, nothing}};

}  // namespace

const CrossEntropyTable cross_entropy_kernels = {
    {nullptr, nullptr, nullptr, nullptr},
    MUMOE_CUDA_ROW(cross_entropy_row),
    &kMeta};

}  // namespace mumoe::model
