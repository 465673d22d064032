// Needs a GPU (label gpu): the combination and GELU there against the oracle.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mumoe/kernels/on_device.h"
#include "tests/mumoe/combine_cuda_cases.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;

/// Keeps what it was given in memory of the current GPU.
class DeviceMemory {
 public:
  template <class E>
  E* put(const std::vector<E>& values, int offset) {
    const auto skipped = static_cast<std::int64_t>(offset * sizeof(E));
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(E));
    // The allocator aligns to 512 bytes.
    tensors_.push_back(
        at::empty({skipped + bytes + 1},
                  at::TensorOptions(at::kByte).device(at::kCUDA)));
    tensors_.back()
        .narrow(0, skipped, bytes)
        .copy_(
            at::from_blob(const_cast<E*>(values.data()), {bytes}, at::kByte));
    auto* begin = static_cast<unsigned char*>(tensors_.back().data_ptr());
    return reinterpret_cast<E*>(begin + skipped);
  }
  template <class E>
  std::vector<E> get(const E* from, std::size_t size) {
    std::vector<E> values(size);
    const auto bytes = static_cast<std::int64_t>(size * sizeof(E));
    at::from_blob(values.data(), {bytes}, at::kByte)
        .copy_(at::from_blob(const_cast<E*>(from),
                             {bytes},
                             at::TensorOptions(at::kByte).device(at::kCUDA)));
    return values;
  }
  void* stream() { return kernels::stream_of(at::Device(at::kCUDA, 0)); }

 private:
  std::vector<at::Tensor> tensors_;
};

template <class E>
class CombineGpu : public ::testing::Test {
 protected:
  DeviceMemory memory;
};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(CombineGpu, Elements);

TYPED_TEST(CombineGpu, EveryKindAndWidth) {
  for (const std::int64_t width : {1, 23, 199, 264, 384, 556}) {
    expect_every_kind<TypeParam>(this->memory, width);
  }
}

TYPED_TEST(CombineGpu, ManyTokensAndExperts) {
  for (const double active : {1.0, 0.05}) {
    for (const std::int64_t experts : {301, 4096}) {
      CombineCase c;
      c.rows = 65;
      c.active = active;
      c.shape = hadamard_shape({experts}, 384);
      expect_oracle_combination<TypeParam>(this->memory, c);
      c.shape = hadamard_shape({experts, 64}, 199);
      expect_oracle_combination<TypeParam>(this->memory, c);
      c.shape = ring_shape({experts}, {4, 4}, 192);
      expect_oracle_combination<TypeParam>(this->memory, c);
      c.shape = kronecker_shape({experts}, {64}, 200);
      expect_oracle_combination<TypeParam>(this->memory, c);
    }
  }
}

TYPED_TEST(CombineGpu, LargestMatrices) {
  CombineCase c;
  c.shape = kronecker_shape({40, 16}, {32, 32}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
  c.shape = ring_shape({16}, {32, 32}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
}

TYPED_TEST(CombineGpu, UnalignedArrays) {
  for (const int offset : {1, 4}) {
    CombineCase c;
    c.offset = offset;
    c.shape = hadamard_shape({64, 16}, 64);
    expect_oracle_combination<TypeParam>(this->memory, c);
    c.shape = ring_shape({64}, {4, 4}, 64);
    expect_oracle_combination<TypeParam>(this->memory, c);
  }
}

TYPED_TEST(CombineGpu, Counts) {
  for (const std::int64_t count : {0, 1, 7, 2059, 300'000, 5'000'003}) {
    for (const int offset : {0, 1, 4}) {
      expect_counts<TypeParam>(this->memory, count, offset);
    }
  }
}

TYPED_TEST(CombineGpu, Gelu) {
  for (const std::int64_t count : {1, 7, 8, 300, 2048, 100003}) {
    expect_gelu<TypeParam>(this->memory, count, 0, 0);
    expect_gelu<TypeParam>(this->memory, count, 3, 3);
    expect_gelu<TypeParam>(this->memory, count, 1, 2);
  }
}

}  // namespace
}  // namespace mumoe::testing
