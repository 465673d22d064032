#include "run/option_table.h"

#include <numeric>

#include "model/families.h"
#include "run/text_forms.h"

namespace mumoe::run {
namespace {

/// dense, or the form of the mixtures.
TextForm mlp() {
  TextForm form{.member = "model.mlp"};
  form.set = [](Options& o, const std::string& text) { o.model.set_mlp(text); };
  form.get = [](const Options& o) { return std::string(o.model.mlp_name()); };
  return form;
}

std::vector<std::pair<std::string, const char*>> families() {
  std::vector<std::pair<std::string, const char*>> words;
  for (const auto& family : model::families()) {
    words.emplace_back(family.name, family.name);
  }
  return words;
}

/// The ranks of μMoE layers: as given until they are resolved.
TextForm ranks() {
  TextForm form{.member = "model.mlp.ranks"};
  form.set = [](Options& o, const std::string& text) {
    if (text != "auto" && text != "paper") {
      parse_list(text, "auto, paper, or whole numbers with commas between");
    }
    o.rank = text;
    o.model.mlp.ranks.clear();
  };
  form.get = [](const Options& o) {
    return o.model.mlp.ranks.empty()
               ? o.rank
               : fmt::format("{}", fmt::join(o.model.mlp.ranks, ","));
  };
  return form;
}

/// The run directory: one to be made, a folder, or none.
TextForm out() {
  TextForm form = plain(MUMOE_FIELD(trainer.out));
  form.set = [folder = form.set](Options& o, const std::string& text) {
    o.keep = text == "auto"   ? Keep::numbered
             : text == "none" ? Keep::nothing
                              : Keep::folder;
    folder(o, o.keep == Keep::folder ? text : "");
  };
  form.get = [folder = form.get](const Options& o) -> std::string {
    if (!o.trainer.out.empty() || o.keep == Keep::folder) return folder(o);
    return o.keep == Keep::numbered ? "auto" : "none";
  };
  return form;
}

/// A switch that may also be `auto`.
TextForm resume() {
  TextForm form = choice(
      MUMOE_FIELD(resume),
      {{Resume::no, "no"}, {Resume::yes, "yes"}, {Resume::automatic, "auto"}});
  form.is_switch = true;
  form.set = [](Options& o, const std::string& text) {
    const bool yes = text == "yes" || text == "true" || text == "1";
    const bool no = text == "no" || text == "false" || text == "0";
    require(yes || no || text == "auto", "expected yes or no, or auto");
    o.resume = yes ? Resume::yes : no ? Resume::no : Resume::automatic;
  };
  return form;
}

// A row is a key, what resuming asks of it, its meaning, its member and text.
// clang-format off
std::vector<Key> make_table() {
  using enum OnResume;
  return {
      {"model.family", must_match, "architecture",
       choice(MUMOE_FIELD(family), families())},
      {"model.mlp", must_match, "what each block has as its MLP",
       mlp()},
      {"model.experts", must_match, "experts, one count a level (64 or 16,16)",
       plain(MUMOE_FIELD(model.mlp.experts))},
      {"model.rank", must_match,
       "auto (as many parameters as the dense MLP), paper (the authors'), the "
       "free rank, or all ranks (4,4,149)", ranks()},
      {"model.gate", must_match, "activation of the gate",
       choice(MUMOE_FIELD(model.mlp.gate.activation),
              {{GateActivation::entmax15, "entmax15"},
               {GateActivation::softmax, "softmax"},
               {GateActivation::top_k, "top_k"}})},
      {"model.gate_top_k", must_match, "experts that a token keeps, for top_k",
       plain(MUMOE_FIELD(model.mlp.gate.top_k))},
      {"model.gate_norm", must_match, "normalisation of the gate's logits",
       choice(MUMOE_FIELD(model.mlp.gate.norm),
              {{GateNorm::layer, "layer"}, {GateNorm::batch, "batch"},
               {GateNorm::none, "none"}})},
      {"model.level_noise", must_match,
       "deviation at the start of the second and further levels of experts "
       "(0: equal rows, which cannot part)",
       plain(MUMOE_FIELD(model.mlp.level_noise))},
      {"model.depth", must_match, "blocks", plain(MUMOE_FIELD(model.depth))},
      {"model.heads", must_match, "attention heads",
       plain(MUMOE_FIELD(model.heads))},
      {"model.width", must_match, "width of the residual stream",
       plain(MUMOE_FIELD(model.width))},
      {"model.hidden", must_match, "hidden width of an MLP (auto: 4 x width)",
       automatic(MUMOE_FIELD(model.mlp.hidden_dim))},
      {"model.context", must_match, "tokens a sample",
       plain(MUMOE_FIELD(model.context))},
      {"model.vocab", must_match,
       "rows of the embedding (auto: 256 for bytes, 50304 for gpt2)",
       automatic(MUMOE_FIELD(model.vocab))},
      {"model.bias", must_match, "biases of linear layers and norms",
       plain(MUMOE_FIELD(model.bias))},
      {"model.expert_bias", must_match, "a bias for every expert",
       plain(MUMOE_FIELD(model.mlp.expert_bias))},
      {"data.source", free,
       "speeches, a folder of .txt files, or one with train.bin and val.bin",
       plain(MUMOE_FIELD(source))},
      {"data.tokenizer", must_match, "how text becomes tokens",
       choice(MUMOE_FIELD(tokenizer), {{"bytes", "bytes"}, {"gpt2", "gpt2"}})},
      {"parallel.dp", free, "data-parallel ranks (auto: all that tp leaves)",
       automatic(MUMOE_FIELD(parallel.dp))},
      {"parallel.tp", noted, "tensor-parallel ranks",
       plain(MUMOE_FIELD(parallel.tp))},
      {"parallel.plan", replayed_at_same_tp,
       "how tp cuts a block (auto: by measured bandwidth)",
       choice(MUMOE_FIELD(parallel.plan),
              {{std::nullopt, "auto"}, {Plan::sequence, "sequence"},
               {Plan::bottleneck, "bottleneck"}, {Plan::rank, "rank"}})},
      {"parallel.zero", free,
       "1: optimizer state cut over dp (ZeRO-1); 0: whole on each rank",
       plain(MUMOE_FIELD(parallel.zero))},
      {"parallel.backend", free,
       "who moves tensors (auto: nccl on GPUs, else mpi; null: nobody, one "
       "rank of dp x tp runs alone)",
       choice(MUMOE_FIELD(parallel.backend),
              {{BackendChoice::automatic, "auto"}, {BackendChoice::mpi, "mpi"},
               {BackendChoice::nccl, "nccl"}, {BackendChoice::null, "null"}})},
      {"parallel.wire", free,
       "gradients on their way (bf16: half the bytes, summed in fp32)",
       choice(MUMOE_FIELD(trainer.wire),
              {{Wire::fp32, "fp32"}, {Wire::bf16, "bf16"}})},
      {"parallel.tp_across_hosts", free, "allow a tp group to span hosts",
       plain(MUMOE_FIELD(parallel.tp_across_hosts))},
      {"parallel.deadline", free,
       "seconds a step, a batch of an evaluation or a checkpoint may take "
       "(start, first step: twice that) before ranks say where they are and "
       "the job ends (on several hosts: after 30 s at least)",
       plain(MUMOE_FIELD(parallel.deadline))},
      {"parallel.check_collectives", free,
       "compare what ranks call before each collective (slow)",
       plain(MUMOE_FIELD(parallel.check_collectives))},
      {"parallel.check_replicas", free,
       "steps between comparisons of replicated weights (0: never)",
       plain(MUMOE_FIELD(parallel.check_replicas))},
      {"parallel.link", free,
       "model of a slow link, \"latency_us,GB/s\" (empty: none)",
       plain(MUMOE_FIELD(parallel.link))},
      {"optimizer.lr", must_match, "highest learning rate",
       plain(MUMOE_FIELD(schedule.lr))},
      {"optimizer.beta1", must_match, "AdamW beta1",
       plain(MUMOE_FIELD(optimizer.beta1))},
      {"optimizer.beta2", must_match, "AdamW beta2",
       plain(MUMOE_FIELD(optimizer.beta2))},
      {"optimizer.eps", must_match, "AdamW epsilon",
       plain(MUMOE_FIELD(optimizer.eps))},
      {"optimizer.weight_decay", must_match,
       "decay of tensors with 2 or more dims",
       plain(MUMOE_FIELD(optimizer.weight_decay))},
      {"optimizer.decay_vectors", must_match, "decay norms and biases as well",
       plain(MUMOE_FIELD(optimizer.decay_vectors))},
      {"optimizer.clip", must_match, "largest gradient norm (0: any)",
       plain(MUMOE_FIELD(optimizer.clip))},
      {"schedule.kind", must_match, "learning rate after the warm-up",
       choice(MUMOE_FIELD(schedule.kind),
              {{ScheduleKind::cosine, "cosine"},
               {ScheduleKind::linear, "linear"},
               {ScheduleKind::constant, "constant"}})},
      {"schedule.warmup", must_match, "steps of linear growth",
       plain(MUMOE_FIELD(schedule.warmup))},
      {"schedule.min_lr", must_match, "learning rate at the end",
       plain(MUMOE_FIELD(schedule.min_lr))},
      {"schedule.steps", must_match,
       "step at which min_lr is reached (auto: train.steps)",
       automatic(MUMOE_FIELD(schedule.steps))},
      {"train.steps", free, "optimizer steps of the whole run",
       plain(MUMOE_FIELD(trainer.steps))},
      {"train.batch", must_match, "samples a step, all ranks",
       plain(MUMOE_FIELD(trainer.batch))},
      {"train.micro_batch", free,
       "samples a rank holds at once (auto: all of a step)",
       automatic(MUMOE_FIELD(trainer.micro_batch))},
      {"train.precision", replayed,
       "of weights and activations (auto: bf16 on GPUs, and on CPUs where it "
       "is clearly the faster)",
       choice(MUMOE_FIELD(precision),
              {{Precision::automatic, "auto"}, {Precision::bf16, "bf16"},
               {Precision::fp32, "fp32"}, {Precision::fp64, "fp64"}})},
      {"train.device", free, "where to compute",
       choice(MUMOE_FIELD(device),
              {{DeviceKind::automatic, "auto"}, {DeviceKind::cpu, "cpu"},
               {DeviceKind::cuda, "cuda"}})},
      {"train.gemm", replayed,
       "library for fp32 products on CPUs (auto: onednn on AMD, else mkl, "
       "unless the other is clearly faster here)",
       choice(MUMOE_FIELD(gemm),
              {{GemmChoice::automatic, "auto"}, {GemmChoice::mkl, "mkl"},
               {GemmChoice::onednn, "onednn"}})},
      {"train.mixing", must_match,
       "experts mixed by dense products or by reading the active ones (auto: "
       "by their share)",
       choice(MUMOE_FIELD(model.mlp.mixing),
              {{Mixing::automatic, "auto"}, {Mixing::dense, "dense"},
               {Mixing::sparse, "sparse"}})},
      {"train.recompute", free,
       "form hidden layers again in backward instead of keeping them (no "
       "effect under the plan rank)", plain(MUMOE_FIELD(model.mlp.recompute))},
      {"train.seed", must_match, "of all random numbers",
       plain(MUMOE_FIELD(trainer.seed))},
      {"train.out", free,
       "run directory (auto: runs/NAME-1, -2, ..., NAME that of the "
       "configuration file, or default; none: nothing is kept)", out()},
      {"train.resume", free,
       "go on from the newest checkpoint of train.out (auto: if it has one)",
       resume()},
      {"train.eval_every", free,
       "steps between evaluations (0: only at the end)",
       plain(MUMOE_FIELD(trainer.eval_every))},
      {"train.eval_windows", free, "validation samples of an evaluation",
       plain(MUMOE_FIELD(trainer.eval_windows))},
      {"checkpoint.every", free,
       "steps between checkpoints (0: by time and at the end)",
       plain(MUMOE_FIELD(trainer.checkpoint_every))},
      {"checkpoint.minutes", free,
       "minutes after a checkpoint at which the next is due (0: not by time)",
       plain(MUMOE_FIELD(trainer.checkpoint_minutes))},
      {"checkpoint.keep", free, "newest checkpoints kept",
       plain(MUMOE_FIELD(trainer.checkpoint_keep))},
      {"log.every", free, "steps between lines of progress",
       plain(MUMOE_FIELD(trainer.log_every))},
      {"log.trace", free, "file of a Chrome trace (empty: none)",
       plain(MUMOE_FIELD(trace))},
  };
}
// clang-format on

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

/// Which of `known` (at least one) looks most like `name`.
const std::string& nearest(const std::vector<std::string>& known,
                           const std::string& name) {
  return *std::min_element(known.begin(),
                           known.end(),
                           [&](const std::string& a, const std::string& b) {
                             return edits(a, name) < edits(b, name);
                           });
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

const Key* find_key_of_member(const std::string& member) {
  for (const Key& k : option_table()) {
    if (k.text.member == member) return &k;
  }
  return nullptr;
}

std::vector<std::string> key_names(const std::string& section) {
  std::vector<std::string> names;
  if (section.empty()) return names;
  for (const Key& key : option_table()) {
    if (section == "*" || key.name.starts_with(section + ".")) {
      names.push_back(key.name);
    }
  }
  return names;
}

std::string in_any_section(const std::string& name) {
  std::vector<std::string> names;
  std::string same;
  for (const Key& key : option_table()) {
    names.push_back(key.name.substr(key.name.find('.') + 1));
    if (names.back() == name) same += (same.empty() ? "" : " or ") + key.name;
  }
  const std::string& found = nearest(names, name);
  return same.empty() ? option_table()[&found - names.data()].name : same;
}

void refuse_unknown(const std::string& name,
                    const std::string& where,
                    const std::vector<std::string>& known) {
  fail<InputError>("{}: unknown key {}; did you mean {}?",
                   where,
                   name,
                   nearest(known, name));
}

}  // namespace mumoe::run
