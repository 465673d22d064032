#include "data/text/blocks.h"

#include <xxhash.h>

#include <utility>

#include "base/error.h"
#include "data/text/forms.h"
#include "data/text/json_lines.h"
#include "data/text/token_file.h"

namespace mumoe::data {
namespace {

struct FreeHash {
  void operator()(XXH64_state_t* state) const { XXH64_freeState(state); }
};

bool written(char c) {
  return c > ' ' && c < 127;
}

}  // namespace

/// The file that is being read, and what of it has no block yet.
struct BlockReader::OpenFile {
  explicit OpenFile(const std::filesystem::path& path)
      : stream(path), hash(XXH64_createState()) {
    MUMOE_CHECK(hash && XXH64_reset(hash.get(), 0) == XXH_OK);
  }
  ByteStream stream;
  std::unique_ptr<XXH64_state_t, FreeHash> hash;
  std::string bytes;
  std::uint64_t offset = 0, line = 1;
  bool ended = false;
};

BlockReader::BlockReader(const Corpus& corpus,
                         std::size_t first,
                         std::size_t end)
    : corpus_(corpus), file_(first), end_(end) {}

BlockReader::~BlockReader() = default;

void BlockReader::read_more(std::size_t wanted) {
  std::string& bytes = open_->bytes;
  const std::size_t before = bytes.size();
  bytes.resize(wanted);
  const std::size_t got = open_->stream.read(std::span(bytes).subspan(before));
  bytes.resize(before + got);
  open_->ended = before + got < wanted;
  XXH64_update(open_->hash.get(), bytes.data() + before, got);
}

/// Where to cut what was read of a file that goes on; 0: nowhere.
std::size_t BlockReader::find_cut() const {
  const std::string& bytes = open_->bytes;
  if (corpus_.documents[file_].form() == Document::Form::json_lines) {
    return bytes.rfind('\n') + 1;
  }
  for (std::size_t at = bytes.size() - 1; at-- > 1;) {
    if ((bytes[at] == ' ' || bytes[at] == '\n') && written(bytes[at - 1]) &&
        written(bytes[at + 1])) {
      return at;
    }
  }
  return 0;
}

std::optional<Block> BlockReader::next() {
  if (file_ == end_) return std::nullopt;
  const Document& document = corpus_.documents[file_];
  const bool lines = document.form() == Document::Form::json_lines;
  if (!open_) open_ = std::make_unique<OpenFile>(document.path);
  std::size_t cut = 0;
  for (std::size_t wanted = kBytes; cut == 0; wanted *= 2) {
    // One more, to know that it goes on.
    if (open_->bytes.size() <= wanted) read_more(wanted + 1);
    if (open_->ended) break;
    cut = find_cut();
    require(cut > 0 || !lines || wanted < kLongestLine,
            "{} line {}: longer than {} MiB; expected shorter lines, a "
            "document each",
            printable(document.path.string()),
            open_->line,
            kLongestLine >> 20);
  }
  Block block;
  block.number = number_++;
  block.file = file_;
  block.document = document_;
  block.offset = open_->offset;
  block.line = open_->line;
  block.last = cut == 0;
  if (block.last) cut = open_->bytes.size();
  block.bytes = open_->bytes.substr(0, cut);
  open_->bytes.erase(0, cut);
  open_->offset += cut;
  if (lines) {
    for_each_line(block.bytes, 0, [&](std::uint64_t, std::string_view line) {
      ++open_->line;
      document_ += !is_blank(line);
    });
  } else {
    document_ += block.last;
  }
  if (block.last) {
    block.hash = hash_hex(XXH64_digest(open_->hash.get()));
    open_.reset();
    ++file_;
  }
  return block;
}

}  // namespace mumoe::data
