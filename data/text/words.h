#pragma once

#include <memory>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace mumoe::data {

/// Cuts text into the words inside which GPT-2's encoding merges bytes
/// (Radford et al. 2019): contractions, letters, digits, other symbols, each
/// with at most one space before it, and runs of white space.
///
/// Text need not be valid UTF-8: a byte that belongs to no well-formed
/// character is a word of its own, and the text on either side of it is cut as
/// if it ended there. The words, joined, are always the text.
/// Safe to use from many threads.
class WordSplitter {
 public:
  WordSplitter();

  /// Views into `text`, in order, none empty.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  friend class WordCursor;
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

/// Walks over the words of a text. Those that only ASCII decides are cut by
/// hand, the others by the pattern of `WordSplitter`.
class WordCursor {
 public:
  /// Of `text`; splitter and text must outlive this.
  WordCursor(const WordSplitter& splitter, std::string_view text);

  /// The next word; empty after the last.
  std::string_view next();

 private:
  struct FreeMatch {
    void operator()(pcre2_real_match_data_8* match) const;
  };
  void begin_segment();
  std::size_t end_of_ascii_word() const;
  std::size_t end_of_word();

  const pcre2_real_code_8* code_;
  std::unique_ptr<pcre2_real_match_data_8, FreeMatch> match_;
  std::string_view rest_;  ///< Behind `segment_`.
  /// Well-formed, of which the words from `at_` on are still to come.
  std::string_view segment_;
  std::size_t at_ = 0;
};

/// Bytes of the well-formed UTF-8 character at the front of `text` (1 to 4); 0
/// if there is none: overlong forms, surrogates, values above U+10FFFF, stray
/// or missing continuation bytes.
int utf8_length(std::string_view text);

/// How many bytes at the front of `text` are well-formed UTF-8.
std::size_t well_formed_prefix(std::string_view text);

}  // namespace mumoe::data
