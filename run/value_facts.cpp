#include "run/value_facts.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace mumoe::run {
namespace {

template <class T>
ValueFacts facts_as(std::string_view bytes) {
  ValueFacts facts;
  for (std::size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T stored;
    std::memcpy(&stored, bytes.data() + at, sizeof(T));
    const auto value = static_cast<double>(stored);
    if (!std::isfinite(value)) {
      ++facts.non_finite;
      continue;
    }
    facts.squares += value * value;
    facts.largest = std::max(facts.largest, std::abs(value));
  }
  return facts;
}

}  // namespace

double ValueFacts::norm() const {
  return std::sqrt(squares);
}

void ValueFacts::add(const ValueFacts& others) {
  squares += others.squares;
  largest = std::max(largest, others.largest);
  non_finite += others.non_finite;
}

ValueFacts facts_of(std::string_view bytes, at::ScalarType dtype) {
  ValueFacts facts;
  AT_DISPATCH_ALL_TYPES_AND3(
      at::kBool,
      at::kHalf,
      at::kBFloat16,
      dtype,
      "facts_of",
      [&] {
        // Whatever byte stands for true.
        using Stored =
            std::conditional_t<std::is_same_v<scalar_t, bool>, char, scalar_t>;
        facts = facts_as<Stored>(bytes);
      });
  return facts;
}

}  // namespace mumoe::run
