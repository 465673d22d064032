#include "launch/planted_features.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "data/fetch.h"
#include "mumoe/safetensors.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;

/// Rows of one of the four subgroups, and how they are called from now on.
struct Part {
  std::int64_t label = 0;
  std::uint8_t group = 0;
  std::vector<std::uint64_t> rows = {};
};

std::int64_t class_of(const data::FeatureFacts& facts,
                      const std::string& name) {
  const auto found = std::ranges::find(facts.class_names, name);
  require(found != facts.class_names.end(),
          "{}: no class {}; expected some of {}",
          facts.source,
          name,
          fmt::join(facts.class_names, ", "));
  return found - facts.class_names.begin();
}

std::vector<std::uint64_t> rows_of(const data::FeatureSamples& samples,
                                   std::int64_t label) {
  std::vector<std::uint64_t> rows;
  for (std::uint64_t row = 0; row < samples.size(); ++row) {
    const auto batch = samples.make({&row, 1});
    if (std::get<std::vector<std::int32_t>>(batch.target)[0] == label) {
      rows.push_back(row);
    }
  }
  return rows;
}

/// The four subgroups of a set: target and group, target alone, group alone,
/// neither.
std::array<Part, 4> parts_of(const data::FeatureFacts& facts,
                             const data::FeatureSamples& samples,
                             const Plant& plant) {
  const auto part = [&](std::int64_t label, std::uint8_t group) {
    const auto& names = label == 1 ? plant.positive : plant.negative;
    const std::string& name = names[group == 1 ? 0 : 1];
    return Part{label, group, rows_of(samples, class_of(facts, name))};
  };
  return {part(1, 1), part(1, 0), part(0, 1), part(0, 0)};
}

/// Leaves `count` rows, drawn, in their order.
void draw(Part& part,
          std::size_t count,
          std::uint64_t seed,
          std::uint64_t stream) {
  const CounterRandom random(seed, Purpose::measurement, stream);
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(part.rows[i],
              part.rows[i + random.below(i, part.rows.size() - i)]);
  }
  part.rows.resize(count);
  std::ranges::sort(part.rows);
}

/// The training parts, as large as `share` allows.
void correlate(std::array<Part, 4>& parts, const Plant& plant) {
  const std::array<double, 4> shares = {plant.share,
                                        1 - plant.share,
                                        1 - plant.share,
                                        plant.share};
  double of_class = INFINITY;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    of_class = std::min(of_class,
                        static_cast<double>(parts[p].rows.size()) / shares[p]);
  }
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto count =
        static_cast<std::size_t>(std::floor(of_class * shares[p] + 1e-9));
    require(count > 0,
            "--share {:g}: leaves no training sample of a subgroup; expected "
            "more features, or a share nearer to a half",
            plant.share);
    draw(parts[p], count, plant.seed, p);
  }
}

data::FeatureFacts::Split write_part(const fs::path& path,
                                     const data::FeatureSamples& samples,
                                     const std::array<Part, 4>& parts) {
  struct Row {
    std::uint64_t row;
    const Part* part;
  };
  std::vector<Row> rows;
  for (const Part& part : parts) {
    for (const std::uint64_t row : part.rows) rows.push_back({row, &part});
  }
  std::ranges::sort(rows, {}, &Row::row);
  std::vector<std::uint64_t> indices;
  for (const Row& row : rows) indices.push_back(row.row);
  data::HostBatch batch = samples.make(indices);
  auto& values = std::get<std::vector<float>>(batch.input);
  const auto count = std::ssize(rows);
  const at::Tensor labels = at::empty({count}, at::kLong);
  const at::Tensor images = at::empty({count}, at::kLong);
  const at::Tensor groups = at::empty({count, 1}, at::kByte);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    labels.data_ptr<std::int64_t>()[i] = rows[i].part->label;
    images.data_ptr<std::int64_t>()[i] = samples.image(rows[i].row);
    groups.data_ptr<std::uint8_t>()[i] = rows[i].part->group;
  }
  const NamedTensors file{
      .tensors = {{"features",
                   at::from_blob(values.data(),
                                 {count, std::ssize(values) / count},
                                 at::kFloat)},
                  {"labels", labels},
                  {"index", images},
                  {"attributes", groups}},
      .metadata = {}};
  write_safetensors(path, file);
  return {.samples = count,
          .of = count,
          .images_hash = {},
          .sha256 = data::sha256_of(path)};
}

}  // namespace

data::FeatureFacts plant_features(const Plant& plant) {
  require(plant.share > 0 && plant.share < 1,
          "--share {:g}: expected a share between 0 and 1",
          plant.share);
  const data::FeatureData all = data::open_features(plant.features);
  auto train = parts_of(all.facts, *all.train, plant);
  const auto val = parts_of(all.facts, *all.val, plant);
  correlate(train, plant);
  for (const Part& part : val) {
    require(!part.rows.empty(),
            "{}: no validation sample of a class that is asked for; expected "
            "some of each",
            plant.features);
  }
  std::error_code error;
  fs::create_directories(plant.out, error);
  require(!error,
          "--out {}: cannot make the folder: {}",
          plant.out.string(),
          error.message());
  // Whatever happens from here on, what was there does not pass for whole.
  fs::remove(plant.out / "features.json", error);
  data::FeatureFacts facts = all.facts;
  const auto name = [](const std::array<std::string, 2>& of) {
    return fmt::format("{}", fmt::join(of, " or "));
  };
  facts.class_names = {name(plant.negative), name(plant.positive)};
  facts.attributes = {kPlantedGroup};
  facts.train = write_part(plant.out / "train.safetensors", *all.train, train);
  facts.val = write_part(plant.out / "val.safetensors", *all.val, val);
  facts.train.images_hash = all.facts.train.images_hash;
  facts.val.images_hash = all.facts.val.images_hash;
  data::write_feature_facts(plant.out, facts);
  return facts;
}

}  // namespace mumoe::launch
