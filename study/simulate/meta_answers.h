#pragma once

#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>

namespace mumoe::study {

/// LibTorch's fused attention, the name of which stands for all of its kinds.
constexpr const char* kAttention =
    "aten::_scaled_dot_product_flash_attention_for_cpu";
constexpr const char* kAttentionBackward =
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward";

/// Whether the host reads tensors of the meta device by the operator `schema`
/// and its arguments on `stack`.
bool reads_meta(const c10::FunctionSchema& schema,
                const torch::jit::Stack& stack);

/// Runs the operator `schema` on tensors of the meta device where LibTorch has
/// no such kernel, or none that the devices it stands for have: puts results of
/// the right shapes, and for the host ones, in place of the arguments on
/// `stack`. False, and nothing done, for any other.
bool answer_for_meta(const c10::FunctionSchema& schema,
                     torch::jit::Stack& stack);

}  // namespace mumoe::study
