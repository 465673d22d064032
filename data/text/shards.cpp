#include "data/text/shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/text/token_file.h"

namespace mumoe::data {

ShardWriter::ShardWriter(std::filesystem::path folder,
                         std::string split,
                         std::uint64_t limit,
                         std::vector<Shard> made,
                         std::function<void()> on_shard)
    : folder_(std::move(folder)),
      split_(std::move(split)),
      limit_(limit),
      shards_(std::move(made)),
      on_shard_(std::move(on_shard)) {}

BlockPlace ShardWriter::needed_from() const {
  return shards_.empty() ? BlockPlace{} : shards_.back().end;
}

void ShardWriter::add(std::uint64_t block,
                      std::span<const std::uint16_t> tokens) {
  const BlockPlace from = needed_from();
  if (block < from.block) return;
  if (block == from.block && pending_.empty() && from.token > 0) {
    MUMOE_CHECK(from.token <= tokens.size(), "block {}", block);
    pending_.assign(tokens.begin() + static_cast<std::ptrdiff_t>(from.token),
                    tokens.end());
  } else {
    pending_.insert(pending_.end(), tokens.begin(), tokens.end());
  }
  // Not a full file: there may be no token after it.
  while (pending_.size() > limit_) {
    const std::uint64_t left = pending_.size() - limit_;
    write(next_name(), limit_, {block, tokens.size() - left});
    on_shard_();
  }
}

void ShardWriter::finish() {
  const std::string name = shards_.empty() ? split_ + ".bin" : next_name();
  write(name, pending_.size(), {});
}

void ShardWriter::write(const std::string& name,
                        std::uint64_t count,
                        BlockPlace end) {
  write_token_file(folder_ / name, std::span(pending_).first(count));
  pending_.erase(pending_.begin(),
                 pending_.begin() + static_cast<std::ptrdiff_t>(count));
  shards_.push_back({name, count, TokenFile(folder_ / name).hash(), end});
}

std::string ShardWriter::next_name() const {
  return fmt::format("{}_{:06}.bin", split_, shards_.size());
}

std::string hash_of(const std::vector<Shard>& shards) {
  if (shards.size() == 1) return shards.front().hash;
  std::string lines;
  for (const Shard& shard : shards) lines += shard.hash + '\n';
  return hash_hex(lines);
}

bool is_shard_name(const std::string& name, const std::string& split) {
  if (name == split + ".bin") return true;
  const std::string front = split + '_', back = ".bin";
  if (name.size() < front.size() + 6 + back.size()) return false;
  if (!name.starts_with(front) || !name.ends_with(back)) return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(front.size()),
                     name.end() - static_cast<std::ptrdiff_t>(back.size()),
                     [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace mumoe::data
