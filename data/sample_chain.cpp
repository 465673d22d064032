#include "data/sample_chain.h"

#include "base/error.h"

namespace mumoe::data {
namespace {

/// A bijection of 64 bits in which each bit of the result depends on all
/// (Stafford's thirteenth variant of MurmurHash3's finalizer).
std::uint64_t scramble(std::uint64_t bits) {
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9ull;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebull;
  return bits ^ bits >> 31;
}

/// Apart from the golden ratio's multiple, which keeps zeros apart, the two
/// parts enter one after the other: exchanged, they give something else.
std::uint64_t mix(std::uint64_t first, std::uint64_t second) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  return scramble(scramble(first + kGolden) + second + kGolden);
}

}  // namespace

std::uint64_t digest_of(std::span<const std::uint64_t> numbers,
                        std::span<const std::uint64_t> indices) {
  MUMOE_CHECK(numbers.size() == indices.size(), "each sample has an index");
  std::uint64_t digest = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    digest += mix(numbers[i], indices[i]);
  }
  return digest;
}

std::uint64_t expected_digest(const SampleOrder& order,
                              std::uint64_t first,
                              std::uint64_t count) {
  std::uint64_t digest = 0;
  for (std::uint64_t number = first; number < first + count; ++number) {
    digest += mix(number, order.index(number));
  }
  return digest;
}

std::uint64_t chained(std::uint64_t chain, std::uint64_t digest) {
  return mix(chain, digest);
}

}  // namespace mumoe::data
