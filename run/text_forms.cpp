#include "run/text_forms.h"

#include "model/families.h"

namespace mumoe::run {
namespace {

/// What else the form `name` is called.
std::string other_names(std::string_view name) {
  if (name == "cp") return "candecomp parafac canonical_polyadic cpd cpmoe";
  if (name == "tr") return "tensor_ring ring trmoe";
  if (name == "tt") return "tensor_train train ttmoe";
  return name == "tucker" ? "hosvd tucker2" : "";
}

template <class Ranks, class Said>
TextForm ranks(Field<Ranks> ranks, Field<Said> said) {
  TextForm form{.member = ranks.name, .value = "RANKS"};
  form.has_auto = true;
  form.set = [=](Options& o, const std::string& text) {
    if (!is_rank_rule(text)) {
      parse_list(
          text,
          "paper,auto, auto, paper, or whole numbers with commas between");
    }
    said.of(o) = text;
    ranks.of(o).clear();
  };
  form.get = [=](const Options& o) {
    return ranks.read(o).empty()
               ? said.read(o)
               : fmt::format("{}", fmt::join(ranks.read(o), ","));
  };
  return form;
}

}  // namespace

TextForm mlp_form() {
  TextForm form{.member = "model.mlp", .value = "WORD"};
  const std::string dense(model::ModelConfig{.dense = true}.mlp_name());
  form.words = {{dense, "mlp ffn feedforward feed_forward none"}};
  for (const Form each : forms()) {
    const std::string name(to_string(each));
    form.words.push_back({name, other_names(name)});
  }
  form.set = [](Options& o, const std::string& text) { o.model.set_mlp(text); };
  form.get = [](const Options& o) { return std::string(o.model.mlp_name()); };
  return form;
}

TextForm head_form() {
  TextForm form{.member = "model.head", .value = "WORD"};
  model::ModelConfig named;
  for (const auto kind :
       {model::HeadKind::linear, model::HeadKind::high_rank}) {
    named.head = kind;
    form.words.push_back({std::string(named.head_name()),
                          kind == model::HeadKind::linear
                              ? "dense fc mlp linear_probe"
                              : "high-rank highrank low_rank two_layer"});
  }
  for (const Form each : forms()) {
    const std::string name(to_string(each));
    form.words.push_back({name, other_names(name)});
  }
  form.set = [](Options& o, const std::string& text) {
    o.model.set_head(text);
  };
  form.get = [](const Options& o) { return std::string(o.model.head_name()); };
  return form;
}

TextForm rank_form() {
  return ranks(MUMOE_FIELD(model.mlp.ranks), MUMOE_FIELD(rank));
}

TextForm token_rank_form() {
  return ranks(MUMOE_FIELD(model.token_ranks), MUMOE_FIELD(token_rank));
}

TextForm out_form() {
  TextForm form = plain(MUMOE_FIELD(trainer.out));
  form.value = "FOLDER|auto|none";
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

TextForm resume_form() {
  TextForm form =
      choice(MUMOE_FIELD(resume),
             {{Resume::no, "no", "False off n disable disabled none never"},
              {Resume::yes, "yes", "True on y enable enabled latest last must"},
              {Resume::automatic, "auto", "allow if_possible"}});
  form.is_switch = true;
  form.has_auto = false;  // not what follows from others
  form.value = "yes|no|auto";
  form.set = [](Options& o, const std::string& text) {
    const bool yes = text == "yes" || text == "true" || text == "1";
    const bool no = text == "no" || text == "false" || text == "0";
    require(yes || no || text == "auto", "expected yes or no, or auto");
    o.resume = yes ? Resume::yes : no ? Resume::no : Resume::automatic;
  };
  return form;
}

TextForm recompute_form() {
  using model::Recompute;
  TextForm form =
      choice(MUMOE_FIELD(model.recompute),
             {{Recompute::none, "none", "False off n disable disabled"},
              {Recompute::mixture,
               "mixture",
               "True on y enable enabled selective mlp experts"},
              {Recompute::everything,
               "everything",
               "full all block blocks layer layers"}});
  form.is_switch = true;
  form.value = "WORD";
  form.set = [](Options& o, const std::string& text) {
    const bool yes = text == "yes" || text == "true" || text == "1";
    const bool no = text == "no" || text == "false" || text == "0";
    require(yes || no || text == "none" || text == "mixture" ||
                text == "everything",
            "expected yes or no, or everything (also: none, mixture)");
    o.model.recompute = text == "everything"       ? Recompute::everything
                        : yes || text == "mixture" ? Recompute::mixture
                                                   : Recompute::none;
  };
  return form;
}

std::vector<Choice<std::string>> family_choices() {
  std::vector<Choice<std::string>> choices;
  for (const auto& family : model::families()) {
    choices.push_back({family.name, family.name});
  }
  return choices;
}

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

}  // namespace mumoe::run
