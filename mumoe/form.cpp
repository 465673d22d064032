#include "mumoe/form.h"

#include <algorithm>

#include "base/error.h"

namespace mumoe {
namespace {

constexpr std::size_t kMostLevels = kernels::kMaxLevels;
constexpr std::int64_t kLargestProduct = std::int64_t{1} << 56;

void require_positive(std::string_view what,
                      const std::vector<std::int64_t>& sizes) {
  for (const std::int64_t size : sizes) {
    require(size >= 1, "{}: {}, expected 1 or more", what, size);
  }
}

/// The factors of a shape whose number of ranks has to fit.
std::vector<FactorSpec> checked_specs(const LayerShape& s) {
  const std::size_t levels = s.experts.size();
  MUMOE_CHECK(levels > 0 && levels <= kMostLevels &&
              s.ranks.size() == rank_count(s.form, levels));
  return factor_specs(s);
}

}  // namespace

std::span<const Form> forms() {
  static const Form all[] = {
      Form::cp,
      Form::tensor_ring,
      Form::tensor_train,
      Form::tucker,
  };
  return all;
}

std::string_view to_string(Form form) {
  return form->name;
}

std::size_t rank_count(Form form, std::size_t levels) {
  std::size_t count = 0;
  for (const FactorSpec& factor : form->factors(levels)) {
    for (const Dim dim : factor.dims) {
      if (dim.of == Dim::Of::rank) count = std::max(count, dim.index + 1);
    }
  }
  return count;
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
          form->rank_names,
          form->name,
          levels,
          levels == 1 ? " level" : " levels");
  require_positive("inputs", {inputs});
  require_positive("outputs", {outputs});
  require_positive("experts", experts);
  require_positive("ranks", ranks);
  require(form->first_rank == 0 || ranks[0] == form->first_rank,
          "ranks: r_1 = {}, expected {} for {}",
          ranks[0],
          form->first_rank,
          form->name);
}

std::int64_t& Dim::in(LayerShape& shape) const {
  switch (of) {
    case Of::inputs:
      return shape.inputs;
    case Of::outputs:
      return shape.outputs;
    case Of::experts:
      return shape.experts.at(index);
    case Of::rank:
      return shape.ranks.at(index);
  }
  fail<InternalError>("no such dim");
}

std::int64_t Dim::in(const LayerShape& shape) const {
  return in(const_cast<LayerShape&>(shape));
}

int FactorSpec::place(Dim dim) const {
  const auto found = std::find(dims.begin(), dims.end(), dim);
  return found == dims.end() ? -1 : static_cast<int>(found - dims.begin());
}

std::vector<std::int64_t> FactorSpec::shape(const LayerShape& layer) const {
  std::vector<std::int64_t> sizes;
  for (const Dim dim : dims) sizes.push_back(dim.in(layer));
  return sizes;
}

std::int64_t FactorSpec::columns(const LayerShape& layer) const {
  auto sizes = shape(layer);
  sizes.front() = 1;
  return checked_product(sizes);
}

std::int64_t FactorSpec::numel(const LayerShape& layer) const {
  return checked_product(shape(layer));
}

std::vector<FactorSpec> factor_specs(const LayerShape& s) {
  std::vector<FactorSpec> specs = s.form->factors(s.experts.size());
  if (!s.bias) return specs;
  const auto input = std::find_if(specs.begin(), specs.end(), [](auto& f) {
    return f.role == Role::input;
  });
  const FactorSpec bias{Role::input_bias,
                        {input->dims.begin() + 1, input->dims.end()}};
  specs.insert(input + 1, bias);
  return specs;
}

bool experts_have_last_rank(const LayerShape& s) {
  const Dim last = Dim::rank(s.ranks.size() - 1);
  const auto specs = factor_specs(s);
  return std::any_of(specs.begin(), specs.end(), [&](const FactorSpec& f) {
    return f.role == Role::expert && f.place(last) >= 0;
  });
}

kernels::CombineShape combination_of(const LayerShape& s) {
  kernels::CombineShape c;
  for (const FactorSpec& f : checked_specs(s)) {
    if (f.role != Role::expert) continue;
    c.experts[f.level] = s.experts[f.level];
    c.mixed[f.level] = f.columns(s);
  }
  c.levels = static_cast<int>(s.experts.size());
  s.form->combination(s, c);
  return c;
}

std::int64_t parameter_count(const LayerShape& s) {
  std::int64_t sum = 0;
  for (const FactorSpec& f : checked_specs(s)) sum += f.numel(s);
  return sum;
}

CombineMacs combine_macs(const LayerShape& s) {
  const kernels::CombineShape c = combination_of(s);
  CombineMacs macs;
  switch (c.kind) {
    case kernels::Combination::hadamard:
      break;
    case kernels::Combination::ring:
      for (int e = 1; e < c.levels; ++e) {
        macs.levels += checked_product({c.rows, c.ranks[e], c.ranks[e + 1]});
      }
      macs.columns = checked_product({c.rows, c.inner, c.columns});
      break;
    case kernels::Combination::kronecker: {
      std::int64_t rows = 1;
      for (int e = 0; e < c.levels; ++e) {
        rows = checked_product({rows, c.mixed[e]});
        macs.columns += checked_product({rows, c.columns});
      }
    }
  }
  return macs;
}

std::int64_t macs_per_token(const LayerShape& s) {
  const std::int64_t parameters = parameter_count(s);
  const CombineMacs macs = combine_macs(s);
  return parameters + macs.levels + macs.columns;
}

std::int64_t expert_matrix_rank(const LayerShape& s) {
  checked_specs(s);
  return std::min({s.inputs, s.outputs, s.form->matrix_rank(s.ranks)});
}

std::int64_t checked_product(const std::vector<std::int64_t>& sizes) {
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
