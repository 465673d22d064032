#include "study/experts/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace mumoe::study {
namespace {

constexpr int kMostSteps = 2000;
constexpr double kConverged = 1e-6;

/// The rows that are learnt from, standardised, with a 1 at their end.
struct Problem {
  std::size_t rows, columns, labels;
  std::vector<double> x;  ///< [rows, columns]
  std::vector<std::size_t> label;
  double l2;

  /// The loss at `w` [columns, labels], and its gradient into `gradient`.
  double loss(const std::vector<double>& w,
              std::vector<double>& gradient) const;
  /// A bound of its second derivatives: those of cross-entropy are at most half
  /// of the largest eigenvalue of XᵀX / rows (Böhning, 1992).
  double curvature() const;
};

/// `scores` become probabilities; the logarithm of their sum is returned.
double softmax(std::vector<double>& scores) {
  const double top = *std::ranges::max_element(scores);
  double sum = 0;
  for (double& each : scores) sum += each = std::exp(each - top);
  for (double& each : scores) each /= sum;
  return top + std::log(sum);
}

double Problem::loss(const std::vector<double>& w,
                     std::vector<double>& gradient) const {
  std::ranges::fill(gradient, 0.0);
  std::vector<double> scores(labels);
  double sum = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const double* const row = x.data() + r * columns;
    std::ranges::fill(scores, 0.0);
    for (std::size_t c = 0; c < columns; ++c) {
      const double* const of_column = w.data() + c * labels;
      for (std::size_t k = 0; k < labels; ++k) {
        scores[k] += row[c] * of_column[k];
      }
    }
    const double right = scores[label[r]];
    sum += softmax(scores) - right;
    scores[label[r]] -= 1;
    for (std::size_t c = 0; c < columns; ++c) {
      double* const of_column = gradient.data() + c * labels;
      for (std::size_t k = 0; k < labels; ++k) {
        of_column[k] += row[c] * scores[k];
      }
    }
  }
  const auto count = static_cast<double>(rows);
  double squares = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    gradient[i] /= count;
    if (i / labels + 1 == columns) continue;  // the biases
    gradient[i] += l2 * w[i];
    squares += w[i] * w[i];
  }
  return sum / count + 0.5 * l2 * squares;
}

double Problem::curvature() const {
  // By powers, from even weights; too small by less than what is added.
  std::vector<double> v(columns, 1.0), next(columns);
  double length = std::sqrt(static_cast<double>(columns)), largest = 0;
  for (int step = 0; step < 60 && length > 0; ++step) {
    for (double& each : v) each /= length;
    std::ranges::fill(next, 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      const double* const row = x.data() + r * columns;
      const double dot = std::inner_product(row, row + columns, v.begin(), 0.0);
      for (std::size_t c = 0; c < columns; ++c) next[c] += dot * row[c];
    }
    std::swap(v, next);
    length = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    largest = length / static_cast<double>(rows);
  }
  return 0.55 * largest + l2;
}

Problem problem_of(const LabelledRows& rows,
                   std::span<const std::size_t> train,
                   const std::vector<double>& mean,
                   const std::vector<double>& scale,
                   double l2) {
  Problem problem{train.size(), rows.width + 1, rows.labels, {}, {}, l2};
  for (const std::size_t r : train) {
    for (std::size_t c = 0; c < rows.width; ++c) {
      problem.x.push_back((rows.row(r)[c] - mean[c]) * scale[c]);
    }
    problem.x.push_back(1);
    problem.label.push_back(rows.label[r]);
  }
  return problem;
}

double largest_of(const std::vector<double>& values) {
  double largest = 0;
  for (const double each : values) largest = std::max(largest, std::abs(each));
  return largest;
}

}  // namespace

void LinearClassifier::learn_scales(const LabelledRows& rows,
                                    std::span<const std::size_t> train) {
  const auto count = static_cast<double>(train.size());
  for (const std::size_t r : train) {
    for (std::size_t c = 0; c < rows.width; ++c) {
      mean_[c] += rows.row(r)[c] / count;
    }
  }
  for (const std::size_t r : train) {
    for (std::size_t c = 0; c < rows.width; ++c) {
      const double off = rows.row(r)[c] - mean_[c];
      scale_[c] += off * off / count;
    }
  }
  for (double& each : scale_) {
    each = each > 1e-24 ? 1 / std::sqrt(each) : 0;
  }
}

LinearClassifier::LinearClassifier(const LabelledRows& rows,
                                   std::span<const std::size_t> train,
                                   double l2)
    : mean_(rows.width),
      scale_(rows.width),
      labels_(rows.labels),
      weights_((rows.width + 1) * rows.labels) {
  MUMOE_CHECK(!train.empty() && l2 > 0);
  learn_scales(rows, train);
  const Problem problem = problem_of(rows, train, mean_, scale_, l2);
  const double step = 1 / problem.curvature();
  std::vector<double> ahead = weights_, before = weights_;
  std::vector<double> gradient(weights_.size());
  double momentum = 1;
  for (int i = 0; i < kMostSteps; ++i) {
    problem.loss(ahead, gradient);
    double along = 0;
    for (std::size_t j = 0; j < weights_.size(); ++j) {
      before[j] = weights_[j];
      weights_[j] = ahead[j] - step * gradient[j];
      along += gradient[j] * (weights_[j] - before[j]);
    }
    if (largest_of(gradient) < kConverged) break;
    if (along > 0) momentum = 1;
    const double next = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
    const double push = (momentum - 1) / next;
    momentum = next;
    for (std::size_t j = 0; j < weights_.size(); ++j) {
      ahead[j] = weights_[j] + push * (weights_[j] - before[j]);
    }
  }
  loss_ = problem.loss(weights_, gradient);
  gradient_ = largest_of(gradient);
}

std::vector<double> LinearClassifier::scores(
    std::span<const double> row) const {
  std::vector<double> scores(weights_.end() - static_cast<long>(labels_),
                             weights_.end());
  for (std::size_t c = 0; c < mean_.size(); ++c) {
    const double x = (row[c] - mean_[c]) * scale_[c];
    for (std::size_t k = 0; k < labels_; ++k) {
      scores[k] += x * weights_[c * labels_ + k];
    }
  }
  return scores;
}

std::size_t LinearClassifier::label_of(std::span<const double> row) const {
  const auto all = scores(row);
  return static_cast<std::size_t>(std::ranges::max_element(all) - all.begin());
}

ProbeResult probe(const LabelledRows& rows, double l2) {
  const Halves halves = halves_of(rows);
  const LinearClassifier classifier(rows, halves.train, l2);
  const auto rights = [&](const std::vector<std::size_t>& of) {
    std::vector<double> right;
    for (const std::size_t r : of) {
      right.push_back(classifier.label_of(rows.row(r)) == rows.label[r]);
    }
    return right;
  };
  const auto right = rights(halves.test);
  ProbeResult result{.features = rows.width,
                     .accuracy = mean_of(right),
                     .interval = bootstrap_mean(right),
                     .train_accuracy = mean_of(rights(halves.train))};
  std::vector<double> count(rows.labels);
  result.by_label.resize(rows.labels);
  for (std::size_t i = 0; i < right.size(); ++i) {
    const std::size_t label = rows.label[halves.test[i]];
    count[label] += 1;
    result.by_label[label] += right[i];
  }
  for (std::size_t k = 0; k < rows.labels; ++k) {
    if (count[k] > 0) result.by_label[k] /= count[k];
  }
  return result;
}

double chance_of(const LabelledRows& rows) {
  const Halves halves = halves_of(rows);
  std::vector<std::size_t> count(rows.labels);
  for (const std::size_t r : halves.train) ++count[rows.label[r]];
  const auto most =
      static_cast<std::size_t>(std::ranges::max_element(count) - count.begin());
  double right = 0;
  for (const std::size_t r : halves.test) right += rows.label[r] == most;
  return right / static_cast<double>(halves.test.size());
}

}  // namespace mumoe::study
