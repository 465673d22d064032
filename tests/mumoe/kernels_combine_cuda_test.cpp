// The GPU's combination and GELU on the CPU: the .cu files, compiled by g++.
#include <gtest/gtest.h>

#include "tests/fakes/cuda_emulation.h"
// After the emulation.
#include "mumoe/kernels/combine.cu"
#include "mumoe/kernels/gelu.cu"
#include "tests/mumoe/combine_cuda_cases.h"

namespace mumoe::testing {
namespace {

using kernels::Bf16;

/// Finds out, too, when something is written beside an array.
class HostMemory {
 public:
  ~HostMemory() {
    for (const Block& block : blocks_) {
      for (std::size_t i = 0; i < block.memory.size() * sizeof(Unit); ++i) {
        const bool inside = i >= block.begin && i < block.end;
        const auto* bytes =
            reinterpret_cast<const unsigned char*>(block.memory.data());
        EXPECT_TRUE(inside || bytes[i] == kFill) << "beside an array";
      }
    }
  }
  template <class E>
  E* put(const std::vector<E>& values, int offset) {
    const std::size_t begin = offset * sizeof(E);
    const std::size_t end = begin + values.size() * sizeof(E);
    blocks_.push_back({std::vector<Unit>(end / sizeof(Unit) + 1), begin, end});
    auto* bytes =
        reinterpret_cast<unsigned char*>(blocks_.back().memory.data());
    std::memset(bytes, kFill, blocks_.back().memory.size() * sizeof(Unit));
    if (begin < end) std::memcpy(bytes + begin, values.data(), end - begin);
    return reinterpret_cast<E*>(bytes + begin);
  }
  template <class E>
  std::vector<E> get(const E* from, std::size_t size) {
    return {from, from + size};
  }
  void* stream() { return nullptr; }

 private:
  static constexpr unsigned char kFill = 0xa5;
  struct alignas(16) Unit {
    unsigned char bytes[16];
  };
  struct Block {
    std::vector<Unit> memory;
    std::size_t begin;
    std::size_t end;
  };
  std::vector<Block> blocks_;
};

template <class E>
class CombineCudaEmulated : public ::testing::Test {
 protected:
  HostMemory memory;
};
using Elements = ::testing::Types<float, double, Bf16>;
TYPED_TEST_SUITE(CombineCudaEmulated, Elements);

TYPED_TEST(CombineCudaEmulated, OneColumn) {
  expect_every_kind<TypeParam>(this->memory, 1);
}
TYPED_TEST(CombineCudaEmulated, NarrowOddWidth) {
  expect_every_kind<TypeParam>(this->memory, 23);
}
TYPED_TEST(CombineCudaEmulated, OddWidth) {
  expect_every_kind<TypeParam>(this->memory, 199);
}
// Rows of 8-byte packs in bf16, of 16 bytes otherwise.
TYPED_TEST(CombineCudaEmulated, WidthOfFours) {
  expect_every_kind<TypeParam>(this->memory, 556);
}
TYPED_TEST(CombineCudaEmulated, WholePacks) {
  expect_every_kind<TypeParam>(this->memory, 264);
}

// More active experts than a warp holds at once.
TYPED_TEST(CombineCudaEmulated, EveryExpertActive) {
  for (const std::int64_t experts : {301, 512}) {
    CombineCase c;
    c.rows = 2;
    c.active = 1;
    c.shape = hadamard_shape({experts}, 40);
    expect_oracle_combination<TypeParam>(this->memory, c);
    c.shape = ring_shape({experts, 9}, {4, 3, 2}, 24);
    expect_oracle_combination<TypeParam>(this->memory, c);
    c.shape = kronecker_shape({experts}, {40}, 8);
    expect_oracle_combination<TypeParam>(this->memory, c);
  }
}

TYPED_TEST(CombineCudaEmulated, NoExpertActive) {
  CombineCase c;
  c.active = 0;
  c.shape = hadamard_shape({70, 3}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
  c.shape = ring_shape({70}, {2, 4}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
}

TYPED_TEST(CombineCudaEmulated, UnalignedArrays) {
  for (const int offset : {1, 4}) {
    CombineCase c;
    c.offset = offset;
    c.shape = hadamard_shape({64, 16}, 64);
    expect_oracle_combination<TypeParam>(this->memory, c);
    c.shape = ring_shape({64}, {4, 4}, 64);
    expect_oracle_combination<TypeParam>(this->memory, c);
  }
}

TYPED_TEST(CombineCudaEmulated, LargestMatrices) {
  CombineCase c;
  c.rows = 1;
  c.shape = kronecker_shape({40, 16}, {32, 32}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
  c.shape = ring_shape({16}, {32, 32}, 24);
  expect_oracle_combination<TypeParam>(this->memory, c);
}

TYPED_TEST(CombineCudaEmulated, LargerMatricesAreRefused) {
  const kernels::CombineForward<TypeParam> forward;
  const kernels::CombineBackward<TypeParam> backward;
  for (const CombineShape& shape :
       {kronecker_shape({64}, {1025}, 8),
        ring_shape({64}, {33, 32}, 8),
        ring_shape({64, 64}, {33, 4, 32}, 8),
        ring_shape({9, 9, 9}, {1, 32, 32, 32}, 8)}) {
    EXPECT_THROW(kernels::cuda::combine_row.of<TypeParam>()
                     .forward(nullptr, shape, forward, 0, 1),
                 InputError);
    EXPECT_THROW(kernels::cuda::combine_row.of<TypeParam>()
                     .backward(nullptr, shape, backward, 0, 1),
                 InputError);
  }
}

TYPED_TEST(CombineCudaEmulated, NoRows) {
  const kernels::CombineForward<TypeParam> matrices;
  kernels::cuda::combine_row.of<TypeParam>().forward(nullptr,
                                                     hadamard_shape({8}, 8),
                                                     matrices,
                                                     0,
                                                     0);
  kernels::cuda::combine_row.of<TypeParam>().forward(nullptr,
                                                     ring_shape({8}, {2, 2}, 8),
                                                     matrices,
                                                     0,
                                                     0);
}

TYPED_TEST(CombineCudaEmulated, Counts) {
  for (const std::int64_t count : {0, 1, 7, 8, 255, 2048, 2059, 4103}) {
    for (const int offset : {0, 1, 4}) {
      expect_counts<TypeParam>(this->memory, count, offset);
    }
  }
}

template <class E>
class GeluCudaEmulated : public CombineCudaEmulated<E> {};
TYPED_TEST_SUITE(GeluCudaEmulated, Elements);

TYPED_TEST(GeluCudaEmulated, AnyCount) {
  for (const std::int64_t count : {0, 1, 7, 8, 300, 2048, 4103}) {
    expect_gelu<TypeParam>(this->memory, count, 0, 0);
  }
}

TYPED_TEST(GeluCudaEmulated, AnyAlignment) {
  for (const std::int64_t count : {1, 5, 100, 2051}) {
    expect_gelu<TypeParam>(this->memory, count, 1, 1);
    expect_gelu<TypeParam>(this->memory, count, 7, 7);
    expect_gelu<TypeParam>(this->memory, count, 1, 2);
  }
}

}  // namespace
}  // namespace mumoe::testing
