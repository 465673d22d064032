#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/samples.h"
#include "data/text/tokenizer.h"

namespace mumoe::data {

/// A text, ways in which it may go on, and which of them is right.
struct Question {
  std::string context;
  std::vector<std::string> endings;  ///< At least two, none empty.
  std::size_t label = 0;             ///< Index of the right one.
  std::int64_t line = 0;             ///< Of the file, from 1.
};

/// The questions of a JSONL file in HellaSwag's form, one object a line:
/// `ctx` or `question` (a text), `endings` (texts), `label` (a whole number
/// from 0, also as a text, "3", which is how some copies have it). Other names
/// in it are of no interest, and blank lines are none. Throws `InputError` that
/// begins with FILE:LINE for a line of another form, and where there is no
/// question.
std::vector<Question> read_questions(const std::filesystem::path& file);

/// Every ending of every question as a sample of its own: the tokens of context
/// and ending, of which those of the ending count. A blank goes between the
/// two unless one stands there; each is encoded by itself. An empty context is
/// the end of the document before. Of a context that is too long, the front is
/// left out.
class ChoiceRows final : public Samples {
 public:
  /// Where the targets of an ending lie in its row.
  struct Ending {
    std::int64_t first = 0;
    std::int64_t count = 0;
  };

  /// `context`: tokens of a row at most. Rows of a batch are filled up at their
  /// ends to the longest, rounded up to a multiple of `multiple`, or to
  /// `context`. Throws `InputError` naming FILE:LINE for an ending that has
  /// more than `context` tokens, or one that cannot be encoded.
  ChoiceRows(const std::filesystem::path& file,
             const Tokenizer& tokenizer,
             std::int64_t context,
             std::int64_t multiple);

  std::uint64_t size() const override { return rows_.size(); }
  /// Of the longest row.
  std::int64_t targets_per_sample() const override;
  HostBatch make(std::span<const std::uint64_t> indices) const override;

  const std::vector<Question>& questions() const { return questions_; }
  /// Questions of which some context was left out.
  std::int64_t cut() const { return cut_; }
  const Ending& ending(std::uint64_t row) const { return rows_[row].ending; }

  /// Rows that go together, each once: of like lengths, at most `tokens` tokens
  /// in each batch, or one row.
  std::vector<std::vector<std::uint64_t>> batches(std::int64_t tokens) const;

 private:
  struct Row {
    std::vector<std::int32_t> tokens;  ///< One more than it has targets.
    Ending ending;
  };
  void add(const std::string& place,
           const std::vector<std::int32_t>& context,
           const std::vector<std::int32_t>& ending);
  std::int64_t padded(std::int64_t targets) const;
  std::int64_t targets_of(std::uint64_t row) const {
    return static_cast<std::int64_t>(rows_[row].tokens.size()) - 1;
  }

  std::int64_t context_;
  std::int64_t multiple_;
  std::vector<Question> questions_;
  std::vector<Row> rows_;
  std::int64_t cut_ = 0;
};

}  // namespace mumoe::data
