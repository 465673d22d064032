#include "data/text/split.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "base/error.h"
#include "data/text/forms.h"

namespace mumoe::data {
namespace {

/// Parts that the validation set of `tenth` bytes is put together of.
class Filling {
 public:
  Filling(std::span<const std::uint64_t> sizes, std::uint64_t total)
      : sizes_(sizes), tenth_(total / 10), validation_(sizes.size()) {}

  /// Takes the documents with i % 10 == `residue` that fit.
  void add(std::size_t residue) {
    for (std::size_t i = residue; i < sizes_.size(); i += 10) {
      if (sizes_[i] > missing()) continue;
      validation_[i] = true;
      taken_ += sizes_[i];
    }
  }
  bool enough() const { return taken_ >= (tenth_ + 1) / 2; }
  std::uint64_t missing() const { return tenth_ - taken_; }
  std::uint64_t taken() const { return taken_; }
  std::vector<bool> validation() const { return validation_; }

  /// The largest document that is not taken, the first of equals.
  std::size_t largest() const {
    std::size_t best = sizes_.size();
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      if (validation_[i]) continue;
      if (best == sizes_.size() || sizes_[i] > sizes_[best]) best = i;
    }
    MUMOE_CHECK(best < sizes_.size());
    return best;
  }

 private:
  std::span<const std::uint64_t> sizes_;
  std::uint64_t tenth_;
  std::uint64_t taken_ = 0;
  std::vector<bool> validation_;
};

std::string percent(std::uint64_t part, std::uint64_t total) {
  char text[32];
  std::snprintf(text,
                sizeof text,
                "%.1f %%",
                100.0 * static_cast<double>(part) / static_cast<double>(total));
  return text;
}

/// The name of document `index`, with its number in a file of several.
std::string name_of(const Corpus& corpus,
                    std::span<const std::uint64_t> counts,
                    std::size_t index) {
  if (counts.empty()) return corpus.documents[index].name;
  std::size_t file = 0;
  while (index >= counts[file]) index -= counts[file++];
  const std::string& name = corpus.documents[file].name;
  if (counts[file] == 1) return name;
  return fmt::format("{} document {}", name, index + 1);
}

/// `name` is that of the document that is cut.
std::string describe(const std::string& name,
                     const SplitPlan& plan,
                     std::uint64_t every_tenth,
                     std::uint64_t missing,
                     std::uint64_t total) {
  const auto whole = std::ranges::count(plan.validation, true);
  std::string parts;
  if (whole > 0)
    parts = fmt::format("{}{}", whole, whole > 1 ? " texts" : " text");
  if (plan.cut) {
    parts += fmt::format("{}the last {} bytes or so of {}",
                         parts.empty() ? "" : " and ",
                         missing,
                         printable(name));
  }
  return fmt::format(
      "every tenth text would be {} of the bytes; for validation instead: {}",
      percent(every_tenth, total),
      parts);
}

}  // namespace

SplitPlan plan_split(const Corpus& corpus,
                     std::span<const std::uint64_t> sizes,
                     std::span<const std::uint64_t> counts) {
  require(!sizes.empty(),
          "{}: no document in its files; expected some",
          printable(corpus.documents.front().path.string()));
  const auto total =
      std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  std::uint64_t every_tenth = 0;
  for (std::size_t i = 0; i < sizes.size(); i += 10) every_tenth += sizes[i];
  SplitPlan plan;
  plan.validation.resize(sizes.size());
  if (sizes.size() > 1 &&
      (total < 10 || (every_tenth * 20 >= total && every_tenth * 5 <= total))) {
    for (std::size_t i = 0; i < sizes.size(); i += 10) {
      plan.validation[i] = true;
    }
    plan.every_tenth = true;
    return plan;
  }
  require(total >= 10,
          "{}: the only text, of {} bytes; expected several, or one long "
          "enough to cut in ten",
          printable(corpus.documents.front().path.string()),
          total);
  Filling filling(sizes, total);
  filling.add(0);
  for (std::size_t residue = 1; residue < 10 && !filling.enough(); ++residue) {
    if (sizes[filling.largest()] / 2 >= filling.missing()) break;
    filling.add(residue);
  }
  plan.validation = filling.validation();
  if (!filling.enough()) {
    const std::size_t largest = filling.largest();
    plan.cut = {largest, sizes[largest] - filling.missing(), total / 100};
  }
  if (sizes.size() > 1) {
    const std::string name =
        plan.cut ? name_of(corpus, counts, plan.cut->document) : "";
    plan.note = describe(name, plan, every_tenth, filling.missing(), total);
  }
  return plan;
}

std::size_t cut_near(std::string_view text,
                     std::uint64_t at,
                     std::uint64_t tolerance) {
  const std::size_t target = std::clamp<std::size_t>(at, 1, text.size() - 1);
  const std::size_t first = target - std::min(tolerance, target - 1);
  const std::size_t last = std::min(text.size() - 1, target + tolerance);
  const auto line_ends = [&](std::size_t i) { return text[i - 1] == '\n'; };
  const auto space = [&](std::size_t i) { return text[i] == ' '; };
  const auto search = [&](auto fits) {
    for (std::size_t i = target; i <= last; ++i) {
      if (fits(i)) return i;
    }
    for (std::size_t i = target; i-- > first;) {
      if (fits(i)) return i;
    }
    return std::size_t{0};
  };
  if (const auto found = search(line_ends)) return found;
  if (const auto found = search(space)) return found;
  // Three bytes at most continue a character.
  const auto continues = [&](std::size_t i) {
    return (text[i] & 0xC0) == 0x80;
  };
  for (std::size_t i = target; i < std::min(target + 4, text.size()); ++i) {
    if (!continues(i)) return i;
  }
  for (std::size_t i = target; i > 1 && i + 4 > target; --i) {
    if (!continues(i)) return i;
  }
  return target;
}

}  // namespace mumoe::data
