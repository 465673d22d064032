#include "launch/feature_maker.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/attributes.h"
#include "data/fetch.h"
#include "data/images/file_samples.h"
#include "data/order.h"
#include "data/progress_line.h"
#include "data/workers.h"
#include "mumoe/safetensors.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using at::Tensor;

// Activations of so many stay in the caches of a core.
constexpr std::size_t kAtOnce = 16;
constexpr std::size_t kLabelsAtOnce = 1024;

std::span<const std::uint64_t> part(const std::vector<std::uint64_t>& all,
                                    std::size_t first,
                                    std::size_t count) {
  return std::span(all).subspan(first, std::min(count, all.size() - first));
}

/// Labels of all samples.
std::vector<std::int32_t> labels_of(const data::Samples& samples) {
  std::vector<std::uint64_t> all(samples.size());
  std::iota(all.begin(), all.end(), std::uint64_t{0});
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < all.size(); i += kLabelsAtOnce) {
    const auto batch = samples.make(part(all, i, kLabelsAtOnce));
    const auto& found = std::get<std::vector<std::int32_t>>(batch.target);
    labels.insert(labels.end(), found.begin(), found.end());
  }
  return labels;
}

/// How many of each class, of `count` in all: as even as their `sizes` allow.
std::vector<std::size_t> shares_of(const std::vector<std::size_t>& sizes,
                                   std::size_t count) {
  std::vector<std::size_t> by_size(sizes.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::ranges::stable_sort(by_size, {}, [&](std::size_t c) {
    return sizes[c];
  });
  std::vector<std::size_t> shares(sizes.size());
  for (std::size_t i = 0; i < by_size.size(); ++i) {
    const std::size_t left = by_size.size() - i;
    shares[by_size[i]] = std::min(sizes[by_size[i]], count / left);
    count -= shares[by_size[i]];
  }
  return shares;
}

/// Those of the images `chosen`, uint8 [images, names].
Tensor attributes_of(const data::Attributes& known,
                     const std::vector<std::uint64_t>& chosen) {
  const auto count = static_cast<std::int64_t>(chosen.size());
  Tensor rows = at::empty({count, std::ssize(known.names)}, at::kByte);
  auto* to = rows.data_ptr<std::uint8_t>();
  for (const std::uint64_t image : chosen) {
    to = std::ranges::copy(known.row(image), to).out;
  }
  return rows;
}

/// Products on one thread each, while it lives: threads that each make another
/// batch wait for nobody, and stay fast where others want the cores too.
class SingleThreaded {
 public:
  SingleThreaded() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~SingleThreaded() { at::set_num_threads(before_); }
  SingleThreaded(const SingleThreaded&) = delete;
  SingleThreaded& operator=(const SingleThreaded&) = delete;

 private:
  int before_;
};

/// Features and labels of samples.
struct Made {
  Tensor features;
  Tensor labels;
};

Made make_batch(const Backbone& backbone,
                const data::ImageData& images,
                const data::Samples& samples,
                std::span<const std::uint64_t> indices) {
  data::HostBatch batch = samples.make(indices);
  auto& pixels = std::get<std::vector<float>>(batch.input);
  const auto& classes = std::get<std::vector<std::int32_t>>(batch.target);
  const auto columns = static_cast<std::int64_t>(pixels.size()) / batch.samples;
  return {
      backbone.features(
          at::from_blob(pixels.data(), {batch.samples, columns}, at::kFloat),
          images),
      at::tensor(classes, at::kInt).to(at::kLong)};
}

/// Of all `chosen`, batch by batch: the same whatever the threads.
Made make_all(const char* name,
              const Backbone& backbone,
              const data::ImageData& images,
              const data::Samples& samples,
              const std::vector<std::uint64_t>& chosen,
              int threads) {
  data::ProgressLine line(fmt::format("features of {} images", name),
                          {.total = chosen.size(), .units = "images"});
  const auto make = [&](std::size_t first) {
    const auto indices = part(chosen, first, kAtOnce);
    Made made = make_batch(backbone, images, samples, indices);
    line.add(indices.size());
    return made;
  };
  std::optional<SingleThreaded> products;
  if (backbone.concurrent) products.emplace();
  const Made begin = make(0);
  const auto count = static_cast<std::int64_t>(chosen.size());
  Made all{at::empty({count, begin.features.size(1)}, at::kFloat),
           at::empty({count}, at::kLong)};
  const auto put = [&](std::size_t first, const Made& made) {
    const auto row = static_cast<std::int64_t>(first);
    const std::int64_t rows = made.labels.size(0);
    all.features.narrow(0, row, rows).copy_(made.features);
    all.labels.narrow(0, row, rows).copy_(made.labels);
  };
  put(0, begin);
  const std::size_t batches = (chosen.size() + kAtOnce - 1) / kAtOnce;
  if (!backbone.concurrent) {
    for (std::size_t b = 1; b < batches; ++b)
      put(b * kAtOnce, make(b * kAtOnce));
    return all;
  }
  data::Workers workers(threads);
  workers.for_each(batches - 1, [&](std::size_t b) {
    at::set_num_threads(1);  // of this thread
    const std::size_t first = (b + 1) * kAtOnce;
    put(first, make(first));
  });
  return all;
}

/// One set's features, labels and indices, in a file.
data::FeatureFacts::Split make_split(const fs::path& path,
                                     const char* name,
                                     const Backbone& backbone,
                                     const data::ImageData& images,
                                     const data::Samples& samples,
                                     const std::vector<std::uint64_t>& chosen,
                                     int threads) {
  const auto count = static_cast<std::int64_t>(chosen.size());
  const Made made = make_all(name, backbone, images, samples, chosen, threads);
  require(at::isfinite(made.features).all().item<bool>(),
          "{}: features of {} images are not finite",
          backbone.description,
          name);
  Tensor index = at::empty({count}, at::kLong);
  std::ranges::copy(chosen, index.data_ptr<std::int64_t>());
  NamedTensors file{.tensors = {{"features", made.features},
                                {"labels", made.labels},
                                {"index", index}},
                    .metadata = {}};
  if (const data::Attributes* known = samples.attributes()) {
    file.tensors["attributes"] = attributes_of(*known, chosen);
  }
  write_safetensors(path, file);
  return {.samples = count,
          .of = static_cast<std::int64_t>(samples.size()),
          .images_hash = {},
          .sha256 = data::sha256_of(path)};
}

}  // namespace

std::vector<std::uint64_t> even_by_class(const data::Samples& samples,
                                         std::int64_t classes,
                                         std::int64_t count) {
  const auto all = static_cast<std::int64_t>(samples.size());
  if (count == 0 || count >= all) {
    return data::evaluation_samples(samples.size(), all);
  }
  // Files are in the order of their classes, and to know the class of one by
  // `make` it would have to be decoded.
  if (dynamic_cast<const data::FileSamples*>(&samples) != nullptr) {
    return data::evaluation_samples(samples.size(), count);
  }
  std::vector<std::vector<std::uint64_t>> of_class(
      static_cast<std::size_t>(classes));
  const auto labels = labels_of(samples);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    of_class[static_cast<std::size_t>(labels[i])].push_back(i);
  }
  std::vector<std::size_t> sizes;
  for (const auto& members : of_class) sizes.push_back(members.size());
  const auto shares = shares_of(sizes, static_cast<std::size_t>(count));
  std::vector<std::uint64_t> chosen;
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    for (std::size_t i = 0; i < shares[c]; ++i) {
      chosen.push_back(of_class[c][i * sizes[c] / shares[c]]);
    }
  }
  std::ranges::sort(chosen);
  return chosen;
}

data::FeatureFacts make_features(const FeatureRequest& request,
                                 const Backbone& backbone,
                                 const data::ImageData& images) {
  std::error_code error;
  fs::create_directories(request.out, error);
  require(!error,
          "--out {}: cannot make the folder: {}",
          request.out.string(),
          error.message());
  // Whatever happens from here on, the old features do not pass for whole.
  fs::remove(request.out / "features.json", error);
  const auto make =
      [&](const char* name, const data::Samples& samples, std::int64_t count) {
        return make_split(request.out / (std::string(name) + ".safetensors"),
                          name,
                          backbone,
                          images,
                          samples,
                          even_by_class(samples, images.classes, count),
                          request.threads);
      };
  data::FeatureFacts facts{.source = images.name,
                           .backbone = backbone.description,
                           .backbone_hash = backbone.hash,
                           .image_size = backbone.sees,
                           .width = 0,
                           .class_names = images.class_names,
                           .train = make("train", *images.train, request.train),
                           .val = make("val", *images.val, request.val)};
  facts.train.images_hash = images.train_hash;
  facts.val.images_hash = images.val_hash;
  if (const data::Attributes* known = images.train->attributes()) {
    facts.attributes = known->names;
  }
  const data::FeatureFile made(request.out / "val.safetensors");
  facts.width = made.width();
  data::write_feature_facts(request.out, facts);
  return facts;
}

}  // namespace mumoe::launch
