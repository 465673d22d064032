#include "mumoe/form.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace mumoe {
namespace {

constexpr std::size_t kMostLevels = 4;
constexpr std::int64_t kLargestProduct = std::int64_t{1} << 56;

std::string_view rank_names(Form form) {
  switch (form) {
    case Form::cp:
      return "R";
    case Form::tensor_ring:
    case Form::tensor_train:
      return "r_1, ..., r_{E+2}";
    case Form::tucker:
      return "RN_1, ..., RN_E, RI, RO";
  }
  fail<InternalError>("no such form");
}

void require_positive(std::string_view what,
                      const std::vector<std::int64_t>& sizes) {
  for (const std::int64_t size : sizes) {
    require(size >= 1, "{}: {}, expected 1 or more", what, size);
  }
}

/// A shape whose number of ranks is known to fit, with the names of the
/// equations.
struct Sizes {
  explicit Sizes(const LayerShape& shape)
      : s(shape),
        levels(shape.experts.size()),
        input_rows(shape.inputs + shape.bias) {
    MUMOE_CHECK(levels > 0 && s.ranks.size() == rank_count(s.form, levels));
  }

  /// Elements of the factor of level e, counted from zero.
  std::int64_t expert_factor(std::size_t e) const {
    if (s.form == Form::cp) return checked_product({s.experts[e], s.ranks[0]});
    if (s.form == Form::tucker)
      return checked_product({s.experts[e], s.ranks[e]});
    return checked_product({s.ranks[e], s.experts[e], s.ranks[e + 1]});
  }

  /// RN_1 ... RN_e of a Tucker core.
  std::int64_t core_levels(std::size_t e) const {
    std::int64_t product = 1;
    for (std::size_t k = 0; k < e; ++k)
      product = checked_product({product, s.ranks[k]});
    return product;
  }

  const LayerShape& s;
  const std::size_t levels;
  const std::int64_t input_rows;
};

}  // namespace

std::string_view to_string(Form form) {
  switch (form) {
    case Form::cp:
      return "cp";
    case Form::tensor_ring:
      return "tr";
    case Form::tensor_train:
      return "tt";
    case Form::tucker:
      return "tucker";
  }
  fail<InternalError>("no such form");
}

std::size_t rank_count(Form form, std::size_t levels) {
  return form == Form::cp ? 1 : levels + 2;
}

void LayerShape::validate() const {
  const std::size_t levels = experts.size();
  require(levels >= 1 && levels <= kMostLevels,
          "experts: {} levels, expected 1 to {}",
          levels,
          kMostLevels);
  const std::size_t expected = rank_count(form, levels);
  require(ranks.size() == expected,
          "ranks: {} given, expected {} ({}) for {} with {}{} of experts",
          ranks.size(),
          expected,
          rank_names(form),
          to_string(form),
          levels,
          levels == 1 ? " level" : " levels");
  require_positive("inputs", {inputs});
  require_positive("outputs", {outputs});
  require_positive("experts", experts);
  require_positive("ranks", ranks);
  require(form != Form::tensor_train || ranks[0] == 1,
          "ranks: r_1 = {}, expected 1 for tt",
          ranks[0]);
}

std::int64_t parameter_count(const LayerShape& shape) {
  const Sizes sizes(shape);
  const auto& r = shape.ranks;
  const std::size_t levels = sizes.levels;
  std::int64_t sum = 0;
  for (std::size_t e = 0; e < levels; ++e) sum += sizes.expert_factor(e);
  switch (shape.form) {
    case Form::cp:
      return sum + checked_product({sizes.input_rows, r[0]}) +
             checked_product({shape.outputs, r[0]});
    case Form::tensor_ring:
    case Form::tensor_train:
      return sum +
             checked_product({r[levels], sizes.input_rows, r[levels + 1]}) +
             checked_product({r[levels + 1], shape.outputs, r[0]});
    case Form::tucker:
      return sum + checked_product({sizes.input_rows, r[levels]}) +
             checked_product(
                 {sizes.core_levels(levels), r[levels], r[levels + 1]}) +
             checked_product({shape.outputs, r[levels + 1]});
  }
  fail<InternalError>("no such form");
}

std::int64_t macs_per_token(const LayerShape& shape) {
  const Sizes sizes(shape);
  const auto& r = shape.ranks;
  std::int64_t sum = parameter_count(shape);
  switch (shape.form) {
    case Form::cp:
      return sum;
    case Form::tensor_ring:
    case Form::tensor_train:
      for (std::size_t k = 1; k <= sizes.levels; ++k)
        sum += checked_product({r[0], r[k], r[k + 1]});
      return sum;
    case Form::tucker:
      for (std::size_t e = 1; e <= sizes.levels; ++e)
        sum += checked_product({sizes.core_levels(e), r.back()});
      return sum;
  }
  fail<InternalError>("no such form");
}

std::int64_t expert_matrix_rank(const LayerShape& shape) {
  const Sizes sizes(shape);
  const auto& r = shape.ranks;
  const std::int64_t matrix = std::min(shape.inputs, shape.outputs);
  switch (shape.form) {
    case Form::cp:
      return std::min(matrix, r[0]);
    case Form::tensor_ring:
    case Form::tensor_train:
      return std::min(
          matrix,
          checked_product(
              {r.back(), *std::min_element(r.begin(), r.end() - 1)}));
    case Form::tucker:
      return std::min({matrix, r[sizes.levels], r.back()});
  }
  fail<InternalError>("no such form");
}

std::int64_t checked_product(std::initializer_list<std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    MUMOE_CHECK(size >= 0);
    require(!__builtin_mul_overflow(product, size, &product) &&
                product <= kLargestProduct,
            "sizes: their product is above 2^56, expected fewer experts, ranks "
            "or dimensions");
  }
  return product;
}

}  // namespace mumoe
