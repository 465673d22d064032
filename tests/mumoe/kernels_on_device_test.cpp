// Which row of a table serves a device; and the layer's operations where
// nothing is computed.
#include "mumoe/kernels/on_device.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/variable.h>

#include "mumoe/gate.h"
#include "mumoe/gelu.h"
#include "mumoe/kernels/gelu.h"

namespace mumoe {
namespace {

using at::Tensor;

TEST(KernelsOnDevice, TheDeviceChoosesTheRow) {
  const auto& table = kernels::gelu_kernels;
  EXPECT_EQ(&kernels::row_for<float>(table, at::kCPU),
            &table.row<float>(best_isa()));
  EXPECT_EQ(&kernels::row_for<double>(table, at::kMeta),
            &table.meta->of<double>());
}

TEST(KernelsOnDevice, ARowThatIsNotCompiledInIsRefused) {
  auto without = kernels::gelu_kernels;
  without.cuda = nullptr;
  EXPECT_THROW(kernels::row_for<float>(without, at::Device(at::kCUDA, 0)),
               InternalError);
  EXPECT_THROW(kernels::row_for<float>(kernels::gelu_kernels, at::kXLA),
               InternalError);
}

TEST(KernelsOnDevice, OnMetaShapesAlone) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const auto options = at::TensorOptions(dtype).device(at::kMeta);
    const Tensor x = at::empty({6, 5}, options).requires_grad_(true);
    const Tensor weight = at::empty({5, 7}, options).requires_grad_(true);
    const Tensor a = gate(x, weight, {}, GemmLibrary::mkl);
    const Tensor y = mumoe::gelu(a);
    EXPECT_EQ(y.sizes(), at::IntArrayRef({6, 7}));
    y.backward(at::empty_like(y));
    EXPECT_EQ(x.grad().sizes(), x.sizes());
    EXPECT_EQ(weight.grad().sizes(), weight.sizes());
    EXPECT_TRUE(weight.grad().is_meta());
  }
}

}  // namespace
}  // namespace mumoe
