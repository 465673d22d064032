#include "data/text/bpe.h"

#include <nlohmann/json.hpp>
#include <queue>
#include <sstream>
#include <tuple>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::data {
namespace {

constexpr std::string_view kEndOfDocument = "<|endoftext|>";
constexpr std::size_t kCachedWords = 1 << 17;
constexpr std::size_t kCachedLength = 64;

/// The files spell each byte as a printable character: bytes that are printable
/// in Latin-1 as themselves, the other 68 as U+0100, U+0101, ... in order.
std::array<std::string, 256> spell_bytes() {
  std::array<std::string, 256> spelling;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) ||
                           (byte >= 161 && byte <= 172) || byte >= 174;
    const unsigned code = printable ? byte : next++;
    if (code < 0x80) {
      spelling[byte] = {static_cast<char>(code)};
    } else {
      spelling[byte] = {static_cast<char>(0xC0 | code >> 6),
                        static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  return spelling;
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
         static_cast<std::uint32_t>(right);
}

/// A pair of neighbours that may be merged. It is out of date once either of
/// them has changed. Ordered so that a priority queue yields the lowest rank,
/// and of equal ranks the leftmost.
struct Candidate {
  std::int32_t rank;
  std::int32_t at;
  std::int32_t left, right, merged;
  bool operator<(const Candidate& other) const {
    return std::tie(rank, at) > std::tie(other.rank, other.at);
  }
};

/// A token of a word in the making; `id` is kGone once merged into its left.
struct Part {
  std::int32_t id;
  std::int32_t previous, next;
};
constexpr std::int32_t kGone = -1;

}  // namespace

BpeTokenizer::BpeTokenizer(const std::filesystem::path& folder) {
  const auto ids = read_ids(folder / "encoder.json");
  read_merges(folder / "vocab.bpe", ids);
}

BpeTokenizer::TextMap<std::int32_t> BpeTokenizer::read_ids(
    const std::filesystem::path& path) {
  const auto json = nlohmann::json::parse(read_file(path), nullptr, false);
  require(json.is_object() && json.size() <= 65536,
          "{}: expected one JSON object of at most 65536 tokens with their ids",
          path.string());
  std::array<std::string, 256> spelling = spell_bytes();
  TextMap<std::uint8_t> byte_of_spelling;
  for (std::size_t b = 0; b < 256; ++b) byte_of_spelling[spelling[b]] = b;

  TextMap<std::int32_t> ids;
  bytes_of_id_.resize(json.size());
  std::vector<bool> seen(json.size());
  for (const auto& [token, value] : json.items()) {
    const bool fits = value.is_number_unsigned() &&
                      value.get<std::uint64_t>() < json.size() &&
                      !seen[value.get<std::size_t>()];
    require(fits,
            "{}: token {} has id {}: expected distinct ids from 0 to {}",
            path.string(),
            token,
            value.dump(),
            json.size() - 1);
    const auto id = value.get<std::int32_t>();
    seen[id] = true;
    ids.emplace(token, id);
    std::string& bytes = bytes_of_id_[id];
    for (std::size_t at = 0; at < token.size();) {
      const int length = utf8_length(std::string_view(token).substr(at, 4));
      const auto byte = byte_of_spelling.find(token.substr(at, length));
      require(byte != byte_of_spelling.end(),
              "{}: token {} holds a character that stands for no byte",
              path.string(),
              token);
      bytes += static_cast<char>(byte->second);
      at += length;
    }
  }
  for (std::size_t b = 0; b < 256; ++b) {
    const auto found = ids.find(spelling[b]);
    require(found != ids.end(), "{}: no token for byte {}", path.string(), b);
    id_of_byte_[b] = found->second;
  }
  const auto end = ids.find(kEndOfDocument);
  require(end != ids.end(), "{}: no token {}", path.string(), kEndOfDocument);
  end_of_document_ = end->second;
  return ids;
}

void BpeTokenizer::read_merges(const std::filesystem::path& path,
                               const TextMap<std::int32_t>& ids) {
  std::istringstream lines(read_file(path));
  std::string line;
  std::int32_t rank = 0;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const auto space = line.find(' ');
    const auto id = [&](const std::string& token) {
      const auto found = ids.find(token);
      return found == ids.end() ? kGone : found->second;
    };
    Merge merge{rank++, kGone};
    std::uint64_t key = 0;
    if (space != std::string::npos) {
      const std::string left = line.substr(0, space);
      const std::string right = line.substr(space + 1);
      if (id(left) >= 0 && id(right) >= 0) merge.id = id(left + right);
      key = pair_key(id(left), id(right));
    }
    require(merge.id >= 0,
            "{} line {}: expected two tokens of encoder.json whose join is a "
            "token, not {}",
            path.string(),
            number,
            line);
    merges_.emplace(key, merge);
  }
  require(rank > 0,
          "{}: expected merges, one a line; found none",
          path.string());
}

const BpeTokenizer::Merge* BpeTokenizer::find_merge(std::int32_t left,
                                                    std::int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<std::int32_t> BpeTokenizer::merge_word(
    std::string_view word) const {
  const auto count = static_cast<std::int32_t>(word.size());
  std::vector<Part> parts(word.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    parts[i] = {id_of_byte_[byte], i - 1, i + 1 < count ? i + 1 : kGone};
  }
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::int32_t at) {
    if (at < 0 || parts[at].next < 0) return;
    const std::int32_t left = parts[at].id;
    const std::int32_t right = parts[parts[at].next].id;
    if (const Merge* merge = find_merge(left, right)) {
      queue.push({merge->rank, at, left, right, merge->id});
    }
  };
  for (std::int32_t i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Part& part = parts[best.at];
    if (part.id != best.left || part.next < 0) continue;
    Part& next = parts[part.next];
    if (next.id != best.right) continue;
    part.id = best.merged;
    part.next = next.next;
    next.id = kGone;
    if (part.next >= 0) parts[part.next].previous = best.at;
    consider(part.previous);
    consider(best.at);
  }
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i >= 0 && i < count; i = parts[i].next) {
    ids.push_back(parts[i].id);
  }
  return ids;
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  require(
      text.size() < (std::size_t{1} << 31),
      "text of {} bytes: the tokenizer gpt2 expects less than 2 GiB a document",
      text.size());
  const auto words = splitter_.split(text);
  std::vector<std::int32_t> ids;
  ids.reserve(words.size() + words.size() / 4);
  const std::lock_guard lock(cache_mutex_);
  for (const std::string_view word : words) {
    if (word.size() > kCachedLength) {
      const auto merged = merge_word(word);
      ids.insert(ids.end(), merged.begin(), merged.end());
      continue;
    }
    auto found = cache_.find(word);
    if (found == cache_.end()) {
      if (cache_.size() >= kCachedWords) cache_.clear();
      found = cache_.emplace(word, merge_word(word)).first;
    }
    ids.insert(ids.end(), found->second.begin(), found->second.end());
  }
  return ids;
}

std::string BpeTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= 0 && ids[i] < vocabulary(),
            "token {} at position {}: the tokenizer gpt2 expects 0 to {}",
            ids[i],
            i,
            vocabulary() - 1);
    text += bytes_of_id_[ids[i]];
  }
  return text;
}

}  // namespace mumoe::data
