#include <fmt/format.h>

#include "base/error.h"
#include "data/in_order.h"
#include "data/progress_line.h"
#include "data/text/blocks.h"
#include "data/text/corpus.h"
#include "data/text/forms.h"
#include "data/text/json_lines.h"
#include "data/text/token_file.h"

namespace mumoe::data {
namespace {

/// Bytes that are not UTF-8, counted over a corpus.
struct Oddities {
  std::uint64_t invalid = 0, texts = 0, marks = 0, empty = 0;
  std::string first;

  void add(const Document& document, const TextFindings& found) {
    marks += found.byte_order_mark;
    invalid += found.invalid;
    if (found.invalid == 0 || texts++ > 0) return;
    first = fmt::format("{} at offset {}",
                        printable(document.name),
                        found.first_invalid);
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> lines;
    if (invalid > 0) {
      lines.push_back(
          fmt::format("{} bytes in {}{} are not UTF-8, the first in {}; they "
                      "are kept as they are",
                      invalid,
                      texts,
                      texts > 1 ? " texts" : " text",
                      first));
    }
    if (marks > 0) {
      lines.push_back(
          fmt::format("{}{} with a byte order mark, which is kept as text",
                      marks,
                      marks > 1 ? " texts begin" : " text begins"));
    }
    if (empty > 0) {
      lines.push_back(fmt::format("{}{} empty, skipped",
                                  empty,
                                  empty > 1 ? " texts are" : " text is"));
    }
    return lines;
  }
};

/// What a block tells.
struct Surveyed {
  std::size_t file = 0;
  bool last = false;
  std::string hash;                  ///< Of the file, if `last`.
  TextFindings found;                ///< Of a part of a text.
  std::uint64_t bytes = 0;           ///< The same.
  std::vector<std::uint64_t> sizes;  ///< Of the documents in lines of JSON.
};

Surveyed look_at(const Corpus& corpus, const Block& block) {
  const Document& document = corpus.documents[block.file];
  Surveyed seen{block.file, block.last, block.hash, {}, 0, {}};
  if (block.offset == 0) check_front(document.path, block.bytes);
  if (document.form() == Document::Form::text) {
    seen.bytes = block.bytes.size();
    seen.found = find_oddities(document.path, block.bytes, block.offset);
    return seen;
  }
  const std::string path = printable(document.path.string());
  for_each_line(
      block.bytes,
      block.line,
      [&](std::uint64_t number, std::string_view line) {
        if (is_blank(line)) return;
        const std::string where = fmt::format("{} line {}", path, number);
        seen.sizes.push_back(text_of_line(line, corpus.field, where).size());
      });
  return seen;
}

/// Puts together what the blocks tell, in order.
class Surveyor {
 public:
  explicit Surveyor(const Corpus& corpus) : corpus_(corpus) {}

  void add(const Surveyed& seen) {
    const Document& document = corpus_.documents[seen.file];
    const bool lines = document.form() == Document::Form::json_lines;
    if (lines) {
      for (const std::uint64_t size : seen.sizes) add_document(size);
    } else {
      if (found_.invalid == 0) found_.first_invalid = seen.found.first_invalid;
      found_.invalid += seen.found.invalid;
      found_.byte_order_mark |= seen.found.byte_order_mark;
      bytes_ += seen.bytes;
    }
    if (!seen.last) return;
    if (!lines) {
      check_findings(document.path, found_, bytes_);
      odd_.add(document, found_);
      add_document(bytes_);
    }
    survey_.counts.push_back(documents_);
    lines_ += document.name + ' ' + seen.hash +
              (lines ? " field " + corpus_.field : "") + '\n';
    found_ = {};
    bytes_ = documents_ = 0;
  }

  Survey finish() && {
    // The hash of a list of hashes: one line a file.
    survey_.fingerprint = hash_hex(lines_);
    survey_.notes = odd_.notes();
    return std::move(survey_);
  }

 private:
  void add_document(std::uint64_t size) {
    survey_.sizes.push_back(size);
    ++documents_;
    odd_.empty += size == 0;
  }

  const Corpus& corpus_;
  Survey survey_;
  Oddities odd_;
  std::string lines_;
  // Of the file so far.
  TextFindings found_;
  std::uint64_t bytes_ = 0, documents_ = 0;
};

}  // namespace

Survey Corpus::survey(unsigned threads) const {
  BlockReader reader(*this);
  Surveyor surveyor(*this);
  ProgressLine progress("reading " + printable(name), megabytes());
  in_order(
      thread_count(threads),
      [&] { return reader.next(); },
      [&](const Block& block) {
        progress.add(block.bytes.size());
        return look_at(*this, block);
      },
      [&](const Surveyed& seen) { surveyor.add(seen); });
  return std::move(surveyor).finish();
}

}  // namespace mumoe::data
