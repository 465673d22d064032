#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/image_scores.h"
#include "train/scores.h"

namespace mumoe::launch {

/// What a model says of a text.
struct TextScore {
  std::string source;
  std::string part;  ///< "all" or "validation"
  std::string hash;  ///< Of its tokens.
  std::string tokenizer;
  std::int64_t context = 0;  ///< Of each window.
  std::int64_t windows = 0;
  std::int64_t windows_of_all = 0;
  /// Ends of documents are targets and stand for no byte of text.
  train::WindowScore score;

  double perplexity() const;
  /// None where the targets stand for no byte.
  std::optional<double> bits_per_byte() const;
};

/// What it says of questions.
struct ChoicesScore {
  std::filesystem::path file;
  train::ChoiceScore score;
  std::int64_t cut = 0;  ///< Questions longer than its context.
};

/// What it says of images.
struct ImagesScore {
  std::string source;
  std::string part;
  std::string hash;
  std::int64_t images_of_all = 0;
  train::ImageScore score;
  std::vector<std::string> class_names;  ///< Of `score.classes`.
};

/// All of an evaluation.
struct EvalReport {
  std::filesystem::path run;
  std::filesystem::path checkpoint;
  std::int64_t step = 0;
  std::string model;
  std::optional<TextScore> text = {};
  std::optional<ChoicesScore> choices = {};
  std::optional<ImagesScore> images = {};

  /// For people: a line a fact.
  std::string table() const;
  /// The same for programs, numbers with all their digits. Nothing in it
  /// depends on the number of ranks.
  std::string json() const;
};

}  // namespace mumoe::launch
