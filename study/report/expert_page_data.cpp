#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/json.h"
#include "study/report/expert_page.h"
#include "study/report/picture_file.h"
#include "study/report/sprite.h"

// The names are short, for there are thousands of experts; expert_page.js reads
// them.

namespace mumoe::study {
namespace {

using nlohmann::json;

/// Numbers as bytes, the lowest first.
class Packed {
 public:
  template <int bytes>
  void add(std::uint64_t value) {
    for (int i = 0; i < bytes; ++i) {
      bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    }
  }
  /// A coefficient as a part of the largest number of so many bytes.
  template <int bytes>
  void add_share(double coefficient) {
    constexpr double kMost = static_cast<double>((1ULL << (8 * bytes)) - 1);
    const double share = std::clamp(coefficient, 0.0, 1.0);
    add<bytes>(static_cast<std::uint64_t>(std::llround(share * kMost)));
  }
  std::string text() const { return base64(bytes_); }

 private:
  std::string bytes_;
};

/// `value` with six digits behind the point, of which a page shows fewer.
double rounded(double value) {
  return std::round(value * 1e6) / 1e6;
}

json rounded(const std::vector<double>& values) {
  json all = json::array();
  for (const double value : values) all.push_back(rounded(value));
  return all;
}

/// Pixels a side of the images, at most.
constexpr int kTile = 64;

class PageData {
 public:
  PageData(const ExpertStudy& study, std::int64_t per_expert)
      : study_(study), per_expert_(per_expert) {}

  std::string text() {
    if (study_.material.pictures && study_.material.images) add_pictures();
    json data = {{"run", facts_of(study_.facts)},
                 {"text", study_.text()},
                 {"threshold", study_.threshold},
                 {"perExpert", per_expert_},
                 {"found", study_.per_expert}};
    data["gates"] = json::array();
    for (std::size_t g = 0; g < study_.loads.size(); ++g) {
      data["gates"].push_back(gate(g));
    }
    data["shown"] = json::array();
    for (const ShownSample& shown : study_.shown) {
      data["shown"].push_back(shown_of(shown));
    }
    add_trees(data);
    if (!study_.removal.empty()) {
      data["removal"] = study_.removal_samples;
    }
    if (study_.other) {
      data["other"] = {{"run", facts_of(*study_.other)}};
      for (const GateLoad& load : study_.other_loads) {
        data["other"]["gates"].push_back(load_of(load));
      }
    }
    data["tokens"] = vocabulary();
    if (study_.material.images) {
      data["classes"] = study_.material.images->class_names;
      add_images(data);
    }
    return to_text(data);
  }

 private:
  static json facts_of(const RunFacts& facts) {
    return {{"run", facts.run},
            {"step", facts.step},
            {"model", facts.model},
            {"data", facts.data},
            {"part", facts.part},
            {"samples", facts.samples}};
  }

  static json load_of(const GateLoad& load) {
    return {{"name", load.gate.name},
            {"experts", load.gate.experts},
            {"tokens", load.tokens},
            {"share", rounded(load.active_share())},
            {"dead", load.dead()},
            {"unchosen", load.never_chosen()},
            {"nats", rounded(load.token_entropy)},
            {"effective", rounded(load.effective_experts())}};
  }

  json gate(std::size_t g) {
    const GateLoad& load = study_.loads[g];
    json one = load_of(load);
    one["unit"] = name_of(study_.units[g]);
    one["chosen"] = load.chosen;
    one["active"] = load.active;
    one["mean"] = rounded(load.mean);
    if (!study_.removal.empty()) {
      one["score"] = rounded(study_.removal[g].with_all);
      one["without"] = rounded(study_.removal[g].without);
    }
    one["examples"] = json::array();
    for (std::size_t n = 0; n < study_.examples[g].size(); ++n) {
      one["examples"].push_back(examples(g, n));
      if (!study_.promoted.empty()) {
        Packed ids;
        for (const auto& promoted : study_.promoted[g][n]) {
          ids.add<2>(token(static_cast<std::int32_t>(promoted.id)));
        }
        one["promoted"].push_back(ids.text());
      }
    }
    return one;
  }

  std::string examples(std::size_t g, std::size_t n) {
    const ExpertExamples& of = study_.examples[g][n];
    Packed packed;
    for (const auto* list : {&of.top, &of.drawn}) {
      const auto size = std::min(std::ssize(*list), per_expert_);
      packed.add<1>(
          static_cast<std::uint64_t>(std::min<std::int64_t>(size, 255)));
    }
    for (const std::int64_t kind : {0, 1}) {
      const auto& list = kind == 0 ? of.top : of.drawn;
      const auto size =
          std::min({std::ssize(list), per_expert_, std::int64_t{255}});
      for (std::int64_t i = 0; i < size; ++i) {
        const Example& example = list[static_cast<std::size_t>(i)];
        packed.add<4>(example.sample);
        packed.add<2>(static_cast<std::uint64_t>(example.token));
        packed.add_share<2>(example.coefficient);
        if (study_.text()) {
          const auto slot =
              (static_cast<std::int64_t>(n) * 2 + kind) * study_.per_expert + i;
          add_words(packed, g, slot, example);
        } else {
          packed.add<2>(place_in(sprite_, {example.sample}));
          if (!crops_.place.empty()) {
            packed.add<2>(
                place_in(crops_, {example.sample, patch_of(g, example)}));
          }
        }
      }
    }
    return packed.text();
  }

  /// The tokens about an example, each with the expert's coefficient there.
  void add_words(Packed& packed,
                 std::size_t g,
                 std::int64_t slot,
                 const Example& example) {
    const auto& ids = tokens(example.sample);
    const std::int64_t first =
        std::max<std::int64_t>(0, example.token - study_.look.before);
    const std::int64_t end =
        std::min(std::ssize(ids), example.token + 1 + study_.look.after);
    packed.add<1>(static_cast<std::uint64_t>(example.token - first));
    packed.add<1>(static_cast<std::uint64_t>(end - first));
    const at::Tensor& around = study_.surroundings[g].around;
    const float* a = around.const_data_ptr<float>() + slot * around.size(1) +
                     (study_.look.before - (example.token - first));
    for (std::int64_t t = first; t < end; ++t, ++a) {
      packed.add<2>(token(ids[static_cast<std::size_t>(t)]));
      packed.add_share<1>(*a);
    }
  }

  json shown_of(const ShownSample& shown) {
    json one = {{"title", shown.title}};
    if (study_.text()) {
      for (const std::int32_t id : shown.tokens) {
        one["tokens"].push_back(token(id));
      }
    } else {
      one["tile"] = place_in(sprite_, {shown.sample});
      one["label"] = label_of(study_.material, shown.sample);
    }
    for (const GateTrace& trace : shown.trace) {
      Packed packed;
      for (std::size_t i = 0; i < trace.experts.size(); ++i) {
        packed.add<2>(static_cast<std::uint64_t>(trace.experts[i] + 1));
        packed.add_share<1>(trace.coefficients[i]);
      }
      one["lanes"].push_back(packed.text());
    }
    return one;
  }

  /// Of each expert of the upper level the shares of those below.
  void add_trees(json& data) const {
    for (const LevelPair& pair : study_.pairs) {
      data["trees"].push_back({{"upper", pair.upper},
                               {"lower", pair.lower},
                               {"mean", rounded(pair.mean)}});
    }
  }

  /// The place of an example in the grid of patches; −1: it has none.
  std::int64_t patch_of(std::size_t g, const Example& example) const {
    if (study_.units[g] != TokenUnit::patch) return -1;
    const GateLoad& load = study_.loads[g];
    const std::int64_t others =
        load.tokens / load.samples - study_.material.images->patches();
    return std::max<std::int64_t>(example.token - others, -1);
  }

  void add_pictures() {
    const ImageForm& form = *study_.material.images;
    std::set<Cutting> whole, patches;
    for (std::size_t g = 0; g < study_.examples.size(); ++g) {
      for (const ExpertExamples& of : study_.examples[g]) {
        for (const auto* list : {&of.top, &of.drawn}) {
          const auto size = std::min(std::ssize(*list), per_expert_);
          for (std::int64_t i = 0; i < size; ++i) {
            const Example& example = (*list)[static_cast<std::size_t>(i)];
            whole.insert({example.sample});
            const std::int64_t patch = patch_of(g, example);
            if (patch >= 0) patches.insert({example.sample, patch});
          }
        }
      }
    }
    for (const ShownSample& shown : study_.shown) whole.insert({shown.sample});
    sprite_ = sprite_of(*study_.material.pictures, form, whole, kTile);
    // Of a small image the patch is seen in it.
    if (form.side <= kTile) return;
    crops_ = sprite_of(*study_.material.pictures, form, patches, kTile / 2);
  }

  static json sheet_of(const Sprite& sprite) {
    return {{"uri", sprite.uri},
            {"columns", sprite.columns},
            {"count", sprite.place.size()}};
  }

  void add_images(json& data) const {
    json labels = json::array();
    for (const auto& [cutting, place] : sprite_.place) {
      labels.push_back(label_of(study_.material, cutting.sample));
    }
    const ImageForm& form = *study_.material.images;
    data["images"] = sheet_of(sprite_);
    data["images"]["grid"] = form.patch == 0 ? 0 : form.side / form.patch;
    data["images"]["labels"] = std::move(labels);
    if (!crops_.place.empty()) data["crops"] = sheet_of(crops_);
  }

  /// The largest number: it is not there.
  static std::uint64_t place_in(const Sprite& sprite, const Cutting& cutting) {
    const auto found = sprite.place.find(cutting);
    constexpr int kNone = 0xffff;
    return static_cast<std::uint64_t>(
        found == sprite.place.end() ? kNone : std::min(found->second, kNone));
  }

  /// The number in the page of a token that occurs there.
  std::uint64_t token(std::int32_t id) {
    const auto [found, is_new] = tokens_used_.emplace(id, tokens_used_.size());
    if (is_new) in_order_.push_back(id);
    return found->second;
  }

  /// Each byte of a token as a character.
  json vocabulary() const {
    json all = json::array();
    for (const std::int32_t id : in_order_) {
      std::string text;
      for (const char c : study_.material.tokenizer->decode({&id, 1})) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
          text += c;
        } else {
          text += static_cast<char>(0xc0 | byte >> 6);
          text += static_cast<char>(0x80 | (byte & 0x3f));
        }
      }
      all.push_back(std::move(text));
    }
    return all;
  }

  const std::vector<std::int32_t>& tokens(std::uint64_t sample) {
    auto found = texts_.find(sample);
    if (found == texts_.end()) {
      found =
          texts_.emplace(sample, tokens_of(*study_.material.samples, sample))
              .first;
    }
    return found->second;
  }

  const ExpertStudy& study_;
  std::int64_t per_expert_;
  Sprite sprite_, crops_;
  std::map<std::int32_t, std::uint64_t> tokens_used_;
  std::vector<std::int32_t> in_order_;
  std::map<std::uint64_t, std::vector<std::int32_t>> texts_;
};

}  // namespace

std::string expert_page_data(const ExpertStudy& study,
                             std::int64_t per_expert) {
  return PageData(study, per_expert).text();
}

}  // namespace mumoe::study
