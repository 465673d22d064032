#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "study/experts/bootstrap.h"
#include "study/experts/labelled_rows.h"

namespace mumoe::study {

/// A linear classifier: softmax(W x̂ + b), x̂ each number less its mean over what
/// it learnt from, by its deviation there.
class LinearClassifier {
 public:
  /// Minimises mean cross-entropy over the rows `train` + l2/2 |W|² (biases are
  /// free) by accelerated gradient steps (Nesterov; begun again where the loss
  /// rises, O'Donoghue and Candès, 2015), in fp64 and in one order: the same
  /// bits each time. Columns that do not vary count for nothing. Converged to a
  /// gradient of 1e-6, or after 2000 steps. `l2` > 0.
  LinearClassifier(const LabelledRows& rows,
                   std::span<const std::size_t> train,
                   double l2);

  /// The likeliest label of a row, of equals the first.
  std::size_t label_of(std::span<const double> row) const;
  /// Log-odds [labels] of a row, up to what they share.
  std::vector<double> scores(std::span<const double> row) const;
  /// What was minimised, at its end, and the largest part of its gradient.
  double loss() const { return loss_; }
  double gradient() const { return gradient_; }

 private:
  void learn_scales(const LabelledRows& rows,
                    std::span<const std::size_t> train);

  std::vector<double> mean_, scale_;
  std::size_t labels_;
  /// [width + 1, labels]; biases last.
  std::vector<double> weights_;
  double loss_ = 0;
  double gradient_ = 0;
};

/// How well a linear classifier tells labels from rows.
struct ProbeResult {
  std::size_t features = 0;
  double accuracy = 0;  ///< Share of the test rows.
  std::optional<Interval> interval = {};
  /// Of the training rows.
  double train_accuracy = 0;
  /// Of each label's test rows.
  std::vector<double> by_label = {};
};

/// Learns from one half and asks about the other (`halves_of`).
ProbeResult probe(const LabelledRows& rows, double l2);

/// How often the most frequent label of the training half is right.
double chance_of(const LabelledRows& rows);

}  // namespace mumoe::study
