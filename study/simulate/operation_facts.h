#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>

#include <string>

#include "study/simulate/operation.h"

namespace mumoe::study {

/// Of a tensor as it is read: of one that repeats itself, what there is of it.
double bytes_of(const at::Tensor& tensor);

/// "Float4x128": element type and sizes; of one that lies otherwise than its
/// sizes say, its strides too.
std::string shape_of(const at::Tensor& tensor);

/// Whether the operator computes nothing: memory, views, and what reads alone.
bool is_free(const c10::FunctionSchema& schema);

/// Whether it brings values to the meta device or from there, which a CPU does
/// not do.
bool crosses_to_meta(const c10::FunctionSchema& schema,
                     const torch::jit::Stack& stack);

/// What the operator does with these arguments; bytes that it writes into new
/// tensors are not in it.
Operation describe(const c10::FunctionSchema& schema,
                   const torch::jit::Stack& arguments);

}  // namespace mumoe::study
