#include "data/text/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "data/in_order.h"
#include "data/progress_line.h"
#include "data/text/forms.h"
#include "data/text/json_lines.h"

namespace mumoe::data {
namespace {

/// What a block gives a split.
struct Part {
  SplitCounts counts;
  std::vector<std::uint16_t> tokens;
};

struct Encoded {
  std::uint64_t block = 0;
  BothSplits<Part> parts;
};

/// The place of a cut, exactly.
struct ExactCut {
  std::uint64_t document = 0;
  std::uint64_t at = 0;
};

/// The file that document `index` is in, and the number of that file's first.
std::pair<std::size_t, std::uint64_t> file_of(const Survey& survey,
                                              std::uint64_t index) {
  std::uint64_t first = 0;
  std::size_t file = 0;
  while (index >= first + survey.counts[file]) first += survey.counts[file++];
  return {file, first};
}

/// Where `cut_near` cuts a text that is read block by block: of it, only what
/// `cut_near` looks at is kept.
std::uint64_t cut_of_text(BlockReader& reader, const SplitPlan::Cut& cut) {
  const std::uint64_t reach = cut.tolerance + 8;
  const std::uint64_t begin = cut.at > reach ? cut.at - reach : 0;
  const std::uint64_t end = cut.at + reach;
  std::string window;
  while (const auto block = reader.next()) {
    const std::uint64_t from = std::max(begin, block->offset);
    const std::uint64_t to = std::min(end, block->offset + block->bytes.size());
    if (from < to)
      window += block->bytes.substr(from - block->offset, to - from);
  }
  return begin + cut_near(window, cut.at - begin, cut.tolerance);
}

/// The same of one line of JSON, the document number `index` of its file.
std::uint64_t cut_of_line(BlockReader& reader,
                          const Corpus& corpus,
                          std::uint64_t index,
                          const SplitPlan::Cut& cut) {
  std::uint64_t at = 0;
  while (const auto block = reader.next()) {
    std::uint64_t document = block->document;
    for_each_line(block->bytes,
                  block->line,
                  [&](std::uint64_t, std::string_view line) {
                    if (is_blank(line) || document++ != index) return;
                    const std::string text =
                        text_of_line(line, corpus.field, "line");
                    at = cut_near(text, cut.at, cut.tolerance);
                  });
  }
  return at;
}

ExactCut place_cut(const Corpus& corpus,
                   const Survey& survey,
                   const SplitPlan::Cut& cut) {
  const auto [file, first] = file_of(survey, cut.document);
  BlockReader reader(corpus, file, file + 1);
  const bool lines =
      corpus.documents[file].form() == Document::Form::json_lines;
  return {cut.document,
          lines ? cut_of_line(reader, corpus, cut.document - first, cut)
                : cut_of_text(reader, cut)};
}

/// Encodes blocks, each by itself. Safe to use from many threads.
class BlockEncoder {
 public:
  BlockEncoder(const Corpus& corpus,
               const SplitPlan& plan,
               std::optional<ExactCut> cut,
               const Tokenizer& tokenizer,
               BothSplits<std::uint64_t> needed_from)
      : corpus_(corpus),
        plan_(plan),
        cut_(cut),
        tokenizer_(tokenizer),
        needed_from_(needed_from) {}

  Encoded operator()(const Block& block) const {
    Encoded out{block.number, {}};
    const Document& file = corpus_.documents[block.file];
    const std::string path = file.path.string();
    if (file.form() == Document::Form::text) {
      add(out, {path, block.document, block.offset, block.bytes, block.last});
      return out;
    }
    std::uint64_t document = block.document;
    for_each_line(
        block.bytes,
        block.line,
        [&](std::uint64_t number, std::string_view line) {
          if (is_blank(line)) return;
          const std::string where = fmt::format("{} line {}", path, number);
          const std::string text = text_of_line(line, corpus_.field, where);
          add(out, {where, document++, 0, text, true});
        });
    return out;
  }

 private:
  /// A part of a document.
  struct Piece {
    const std::string& name;
    std::uint64_t document, offset;
    std::string_view text;
    bool ends;  ///< The document does.
  };

  void add(Encoded& out, const Piece& piece) const {
    if (piece.ends && piece.offset == 0 && piece.text.empty()) return;
    if (!cut_ || cut_->document != piece.document) {
      const bool val = plan_.validation[piece.document];
      return add_to(out, val, piece.name, piece.text, piece.ends);
    }
    const std::uint64_t end = piece.offset + piece.text.size();
    if (piece.offset < cut_->at) {
      const bool cut = cut_->at <= end;
      add_to(out,
             false,
             piece.name,
             piece.text.substr(0, cut_->at - piece.offset),
             cut);
    }
    if (end > cut_->at || piece.ends) {
      const auto from = cut_->at > piece.offset ? cut_->at - piece.offset : 0;
      add_to(out, true, piece.name, piece.text.substr(from), piece.ends);
    }
  }

  void add_to(Encoded& out,
              bool val,
              const std::string& name,
              std::string_view text,
              bool ends) const {
    Part& part = val ? out.parts.val : out.parts.train;
    part.counts.bytes += text.size();
    part.counts.documents += ends;
    if (out.block < (val ? needed_from_.val : needed_from_.train)) return;
    try {
      const auto ids = tokenizer_.encode(text);
      part.tokens.insert(part.tokens.end(), ids.begin(), ids.end());
    } catch (const InputError& error) {
      fail<InputError>("{}: {}", printable(name), error.what());
    }
    if (!ends) return;
    part.tokens.push_back(
        static_cast<std::uint16_t>(tokenizer_.end_of_document()));
  }

  const Corpus& corpus_;
  const SplitPlan& plan_;
  std::optional<ExactCut> cut_;
  const Tokenizer& tokenizer_;
  BothSplits<std::uint64_t> needed_from_;
};

}  // namespace

BothSplits<SplitCounts> encode_corpus(const Corpus& corpus,
                                      const Survey& survey,
                                      const SplitPlan& plan,
                                      const Tokenizer& tokenizer,
                                      unsigned threads,
                                      ShardWriter& train,
                                      ShardWriter& val) {
  std::optional<ExactCut> cut;
  if (plan.cut) cut = place_cut(corpus, survey, *plan.cut);
  const BlockEncoder encode(
      corpus,
      plan,
      cut,
      tokenizer,
      {train.needed_from().block, val.needed_from().block});
  BothSplits<SplitCounts> counts;
  const auto take = [](SplitCounts& all, const SplitCounts& some) {
    all.documents += some.documents;
    all.bytes += some.bytes;
  };
  BlockReader reader(corpus);
  ProgressLine progress("tokenizing " + printable(corpus.name),
                        megabytes(std::accumulate(survey.sizes.begin(),
                                                  survey.sizes.end(),
                                                  std::uint64_t{0})));
  in_order(
      thread_count(threads),
      [&] { return reader.next(); },
      encode,
      [&](const Encoded& encoded) {
        take(counts.train, encoded.parts.train.counts);
        take(counts.val, encoded.parts.val.counts);
        train.add(encoded.block, encoded.parts.train.tokens);
        val.add(encoded.block, encoded.parts.val.tokens);
        progress.add(encoded.parts.train.counts.bytes +
                     encoded.parts.val.counts.bytes);
      });
  return counts;
}

}  // namespace mumoe::data
