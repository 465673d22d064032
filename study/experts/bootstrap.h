#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace mumoe::study {

/// From low to high.
struct Interval {
  double low = 0;
  double high = 0;
};

/// The middle 90 % of finite `values`, between neighbours in proportion; none
/// of fewer than 20.
std::optional<Interval> middle_of(std::vector<double> values);

/// What draws of a sample say of a figure (Efron, 1979): `draws` times as many
/// of `size` items as there are, with replacement, give `of(items)`, of which
/// this is the middle 90 %. A function of its arguments alone; draws for which
/// `of` is not finite do not count.
using FigureOf = std::function<double(std::span<const std::size_t> items)>;
std::optional<Interval> bootstrap(std::size_t size,
                                  const FigureOf& of,
                                  int draws = 1000,
                                  std::uint64_t seed = 1);
/// Of the mean; none of fewer than two.
std::optional<Interval> bootstrap_mean(std::span<const double> values);

/// Of none 0.
double mean_of(std::span<const double> values);

}  // namespace mumoe::study
