#include "launch/option_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/number.h"
#include "model/families.h"

namespace mumoe::launch {
namespace {

template <class Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

bool parse_switch(const std::string& text) {
  if (text == "yes" || text == "true" || text == "1") return true;
  if (text == "no" || text == "false" || text == "0") return false;
  fail<InputError>("expected yes or no");
}

/// `field` maps Options& to the member.
template <class Field>
Key key(std::string name, std::string help, Field field) {
  using Value =
      std::remove_reference_t<decltype(field(std::declval<Options&>()))>;
  const auto read = [field](const Options& o) -> const Value& {
    return field(const_cast<Options&>(o));
  };
  Key k{.name = std::move(name), .help = std::move(help), .set = {}, .get = {}};
  if constexpr (std::is_same_v<Value, bool>) {
    k.is_switch = true;
    k.set = [field](Options& o, const std::string& text) {
      field(o) = parse_switch(text);
    };
    k.get = [read](const Options& o) { return read(o) ? "yes" : "no"; };
  } else if constexpr (std::is_arithmetic_v<Value>) {
    k.set = [field](Options& o, const std::string& text) {
      field(o) = parse_number<Value>(text);
    };
    // The shortest text that reads back as the same number.
    k.get = [read](const Options& o) { return fmt::format("{}", read(o)); };
  } else if constexpr (std::is_same_v<Value, std::vector<std::int64_t>>) {
    k.set = [field](Options& o, const std::string& text) {
      field(o) = parse_list(text);
    };
    k.get = [read](const Options& o) {
      return fmt::format("{}", fmt::join(read(o), ","));
    };
  } else {
    k.is_text = true;
    k.set = [field](Options& o, const std::string& text) {
      require(text.find('\0') == text.npos, "expected no zero byte");
      field(o) = text;
    };
    k.get = [read](const Options& o) { return std::string(read(o)); };
  }
  return k;
}

/// A whole number that may also be `auto`, stored as 0.
template <class Field>
Key automatic(std::string name, std::string help, Field field) {
  Key k = key(std::move(name), std::move(help), field);
  k.set = [plain = k.set](Options& o, const std::string& text) {
    try {
      plain(o, text == "auto" ? "0" : text);
    } catch (const InputError& error) {
      fail<InputError>("{}, or auto", error.what());
    }
  };
  k.get = [plain = k.get](const Options& o) {
    const std::string text = plain(o);
    return text == "0" ? "auto" : text;
  };
  return k;
}

/// The ranks of μMoE layers: as given until they are resolved.
Key ranks(std::string name, std::string help) {
  Key k{.name = std::move(name), .help = std::move(help), .set = {}, .get = {}};
  k.set = [](Options& o, const std::string& text) {
    if (text != "auto" && text != "paper") {
      parse_list(text, "auto, paper, or whole numbers with commas between");
    }
    o.rank = text;
    o.model.ranks.clear();
  };
  k.get = [](const Options& o) {
    return o.model.ranks.empty()
               ? o.rank
               : fmt::format("{}", fmt::join(o.model.ranks, ","));
  };
  return k;
}

template <class Enum, class Field>
Key choice(std::string name, std::string help, Names<Enum> names, Field field) {
  Key k{.name = std::move(name), .help = std::move(help), .set = {}, .get = {}};
  k.set = [names, field](Options& o, const std::string& text) {
    std::string allowed;
    for (const auto& [value, word] : names) {
      if (text == word) {
        field(o) = value;
        return;
      }
      allowed += (allowed.empty() ? "" : ", ") + std::string(word);
    }
    fail<InputError>("expected one of: {}", allowed);
  };
  k.get = [names, field](const Options& o) {
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const auto& name) {
          return name.first == field(const_cast<Options&>(o));
        });
    return std::string(found->second);
  };
  return k;
}

Names<std::string> family_names() {
  Names<std::string> names;
  for (const auto& family : model::families()) {
    names.emplace_back(family.name, family.name);
  }
  return names;
}

#define MUMOE_FIELD(member) \
  [](Options& o) -> decltype((o.member)) { return o.member; }

std::vector<Key> make_table() {
  using model::MlpKind;
  using train::ScheduleKind;
  return {
      choice<std::string>("model.family",
                          "architecture",
                          family_names(),
                          MUMOE_FIELD(family)),
      choice<MlpKind>("model.mlp",
                      "what each block has as its MLP",
                      {{MlpKind::dense, "dense"},
                       {MlpKind::cp, "cp"},
                       {MlpKind::tr, "tr"},
                       {MlpKind::tt, "tt"},
                       {MlpKind::tucker, "tucker"}},
                      MUMOE_FIELD(model.mlp)),
      key("model.experts",
          "experts, one count a level (64 or 16,16)",
          MUMOE_FIELD(model.experts)),
      ranks("model.rank",
            "auto (as many parameters as the dense MLP), paper (the authors'), "
            "the free rank, or all ranks (4,4,149)"),
      choice<GateActivation>("model.gate",
                             "activation of the gate",
                             {{GateActivation::entmax15, "entmax15"},
                              {GateActivation::softmax, "softmax"},
                              {GateActivation::top_k, "top_k"}},
                             MUMOE_FIELD(model.gate.activation)),
      key("model.gate_top_k",
          "experts that a token keeps, for top_k",
          MUMOE_FIELD(model.gate.top_k)),
      choice<GateNorm>("model.gate_norm",
                       "normalisation of the gate's logits",
                       {{GateNorm::layer, "layer"},
                        {GateNorm::batch, "batch"},
                        {GateNorm::none, "none"}},
                       MUMOE_FIELD(model.gate.norm)),
      key("model.level_noise",
          "deviation at the start of the second and further levels of experts "
          "(0: equal rows, which cannot part)",
          MUMOE_FIELD(model.level_noise)),
      key("model.depth", "blocks", MUMOE_FIELD(model.depth)),
      key("model.heads", "attention heads", MUMOE_FIELD(model.heads)),
      key("model.width",
          "width of the residual stream",
          MUMOE_FIELD(model.width)),
      automatic("model.hidden",
                "hidden width of an MLP (auto: 4 x width)",
                MUMOE_FIELD(model.hidden)),
      key("model.context", "tokens a sample", MUMOE_FIELD(model.context)),
      automatic("model.vocab",
                "rows of the embedding (auto: 256 for bytes, 50304 for gpt2)",
                MUMOE_FIELD(model.vocab)),
      key("model.bias",
          "biases of linear layers and norms",
          MUMOE_FIELD(model.bias)),
      key("model.expert_bias",
          "a bias for every expert",
          MUMOE_FIELD(model.expert_bias)),
      key("data.source",
          "speeches, a folder of .txt files, or one with train.bin and val.bin",
          MUMOE_FIELD(source)),
      choice<std::string>("data.tokenizer",
                          "how text becomes tokens",
                          {{"bytes", "bytes"}, {"gpt2", "gpt2"}},
                          MUMOE_FIELD(tokenizer)),
      automatic("parallel.dp",
                "data-parallel ranks (auto: all that tp leaves)",
                MUMOE_FIELD(parallel.dp)),
      key("parallel.tp", "tensor-parallel ranks", MUMOE_FIELD(parallel.tp)),
      choice<std::optional<Plan>>(
          "parallel.plan",
          "how tp cuts a block (auto: by measured bandwidth)",
          {{std::nullopt, "auto"},
           {Plan::sequence, "sequence"},
           {Plan::bottleneck, "bottleneck"},
           {Plan::rank, "rank"}},
          MUMOE_FIELD(parallel.plan)),
      key("parallel.zero",
          "1: optimizer state cut over dp (ZeRO-1); 0: whole on each rank",
          MUMOE_FIELD(parallel.zero)),
      choice<BackendChoice>("parallel.backend",
                            "who moves tensors (auto: nccl on GPUs, else mpi; "
                            "null: nobody, one rank of dp x tp runs alone)",
                            {{BackendChoice::automatic, "auto"},
                             {BackendChoice::mpi, "mpi"},
                             {BackendChoice::nccl, "nccl"},
                             {BackendChoice::null, "null"}},
                            MUMOE_FIELD(parallel.backend)),
      choice<Wire>("parallel.wire",
                   "gradients on their way (bf16: half the bytes, summed in "
                   "fp32)",
                   {{Wire::fp32, "fp32"}, {Wire::bf16, "bf16"}},
                   MUMOE_FIELD(parallel.wire)),
      key("parallel.tp_across_hosts",
          "allow a tp group to span hosts",
          MUMOE_FIELD(parallel.tp_across_hosts)),
      key("parallel.deadline",
          "seconds a step, a batch of an evaluation or a checkpoint may take "
          "(start, first step: twice that) before ranks say where they are "
          "and the job ends (on several hosts: after 30 s at least)",
          MUMOE_FIELD(parallel.deadline)),
      key("parallel.check_collectives",
          "compare what ranks call before each collective (slow)",
          MUMOE_FIELD(parallel.check_collectives)),
      key("parallel.check_replicas",
          "steps between comparisons of replicated weights (0: never)",
          MUMOE_FIELD(parallel.check_replicas)),
      key("parallel.link",
          "model of a slow link, \"latency_us,GB/s\" (empty: none)",
          MUMOE_FIELD(parallel.link)),
      key("optimizer.lr", "highest learning rate", MUMOE_FIELD(schedule.lr)),
      key("optimizer.beta1", "AdamW beta1", MUMOE_FIELD(optimizer.beta1)),
      key("optimizer.beta2", "AdamW beta2", MUMOE_FIELD(optimizer.beta2)),
      key("optimizer.eps", "AdamW epsilon", MUMOE_FIELD(optimizer.eps)),
      key("optimizer.weight_decay",
          "decay of tensors with 2 or more dims",
          MUMOE_FIELD(optimizer.weight_decay)),
      key("optimizer.decay_vectors",
          "decay norms and biases as well",
          MUMOE_FIELD(optimizer.decay_vectors)),
      key("optimizer.clip",
          "largest gradient norm (0: any)",
          MUMOE_FIELD(optimizer.clip)),
      choice<ScheduleKind>("schedule.kind",
                           "learning rate after the warm-up",
                           {{ScheduleKind::cosine, "cosine"},
                            {ScheduleKind::linear, "linear"},
                            {ScheduleKind::constant, "constant"}},
                           MUMOE_FIELD(schedule.kind)),
      key("schedule.warmup",
          "steps of linear growth",
          MUMOE_FIELD(schedule.warmup)),
      key("schedule.min_lr",
          "learning rate at the end",
          MUMOE_FIELD(schedule.min_lr)),
      automatic("schedule.steps",
                "step at which min_lr is reached (auto: train.steps)",
                MUMOE_FIELD(schedule.steps)),
      key("train.steps",
          "optimizer steps of the whole run",
          MUMOE_FIELD(trainer.steps)),
      key("train.batch",
          "samples a step, all ranks",
          MUMOE_FIELD(trainer.batch)),
      automatic("train.micro_batch",
                "samples a rank holds at once (auto: all of a step)",
                MUMOE_FIELD(trainer.micro_batch)),
      choice<Precision>(
          "train.precision",
          "of weights and activations (auto: bf16 on GPUs, and on CPUs "
          "where it is clearly the faster)",
          {{Precision::automatic, "auto"},
           {Precision::bf16, "bf16"},
           {Precision::fp32, "fp32"},
           {Precision::fp64, "fp64"}},
          MUMOE_FIELD(precision)),
      choice<DeviceKind>("train.device",
                         "where to compute",
                         {{DeviceKind::automatic, "auto"},
                          {DeviceKind::cpu, "cpu"},
                          {DeviceKind::cuda, "cuda"}},
                         MUMOE_FIELD(device)),
      choice<GemmChoice>(
          "train.gemm",
          "library for fp32 products on CPUs (auto: onednn on AMD, else mkl, "
          "unless the other is clearly faster here)",
          {{GemmChoice::automatic, "auto"},
           {GemmChoice::mkl, "mkl"},
           {GemmChoice::onednn, "onednn"}},
          MUMOE_FIELD(gemm)),
      choice<Mixing>("train.mixing",
                     "experts mixed by dense products or by reading the active "
                     "ones (auto: by their share)",
                     {{Mixing::automatic, "auto"},
                      {Mixing::dense, "dense"},
                      {Mixing::sparse, "sparse"}},
                     MUMOE_FIELD(model.mixing)),
      key("train.recompute",
          "form hidden layers again in backward instead of keeping them (no "
          "effect under the plan rank)",
          MUMOE_FIELD(model.recompute)),
      key("train.seed", "of all random numbers", MUMOE_FIELD(trainer.seed)),
      key("train.out",
          "run directory (empty: write nothing)",
          MUMOE_FIELD(trainer.out)),
      key("train.resume",
          "go on from the newest checkpoint of train.out",
          MUMOE_FIELD(resume)),
      key("train.eval_every",
          "steps between evaluations (0: only at the end)",
          MUMOE_FIELD(trainer.eval_every)),
      key("train.eval_windows",
          "validation samples of an evaluation",
          MUMOE_FIELD(trainer.eval_windows)),
      key("checkpoint.every",
          "steps between checkpoints (0: by time and at the end)",
          MUMOE_FIELD(trainer.checkpoint_every)),
      key("checkpoint.minutes",
          "minutes after a checkpoint at which the next is due (0: not by "
          "time)",
          MUMOE_FIELD(trainer.checkpoint_minutes)),
      key("checkpoint.keep",
          "newest checkpoints kept",
          MUMOE_FIELD(trainer.checkpoint_keep)),
      key("log.every",
          "steps between lines of progress",
          MUMOE_FIELD(trainer.log_every)),
      key("log.trace",
          "file of a Chrome trace (empty: none)",
          MUMOE_FIELD(trace)),
  };
}

#undef MUMOE_FIELD

/// Levenshtein's distance.
std::size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::int64_t> parse_list(const std::string& text,
                                     const char* expected) {
  std::vector<std::int64_t> values;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    try {
      values.push_back(
          parse_number<std::int64_t>(text.substr(begin, end - begin)));
    } catch (const InputError&) {
      fail<InputError>("expected {}", expected);
    }
    begin = end + 1;
  }
  return values;
}

const std::vector<Key>& option_table() {
  static const std::vector<Key> table = make_table();
  return table;
}

const Key* find_key(const std::string& name) {
  for (const Key& k : option_table()) {
    if (k.name == name) return &k;
  }
  return nullptr;
}

const std::string& nearest(const std::vector<std::string>& known,
                           const std::string& name) {
  return *std::min_element(known.begin(),
                           known.end(),
                           [&](const std::string& a, const std::string& b) {
                             return edits(a, name) < edits(b, name);
                           });
}

}  // namespace mumoe::launch
