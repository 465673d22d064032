#include "run/option_table.h"

#include "run/text_forms.h"

namespace mumoe::run {
namespace {

// A row is a key, what resuming asks of it, its meaning, its member and text,
// and what other programs call it (no word for two of them).
// clang-format off
std::vector<Key> make_table() {
  using enum OnResume;
  return {
      {"model.family", must_match, "architecture",
       choice(MUMOE_FIELD(family), family_choices()),
       "arch architecture model_type model_name type model"},
      {"model.mlp", must_match, "what each block has as its MLP",
       mlp_form(),
       "factorization factorisation decomposition form ffn mlp_type"
       " layer_type tensor_format moe"},
      {"model.experts", must_match, "experts, one count a level (64 or 16,16)",
       plain(MUMOE_FIELD(model.mlp.experts)),
       "num_experts n_experts n_expert num_local_experts moe_num_experts"
       " expert_count"},
      {"model.rank", must_match,
       "auto (as many parameters as the dense MLP or linear head), paper (the authors'), the "
       "free rank, all ranks (4,4,149); paper,auto: the authors' where they "
       "chose one, else auto",
       rank_form(),
       "model.ranks cp_rank tr_rank tensor_rank bottleneck rank_dim"},
      {"model.head", must_match,
       "head, ViT: what leads to classes, a mixture as model.experts, "
       "model.rank and model.gate say",
       head_form(),
       "head_type classifier classifier_type head_kind"},
      {"model.head_parameters", must_match,
       "head, ViT: that model.rank = auto or a high_rank head may have (auto: "
       "as many as a linear head)",
       automatic(MUMOE_FIELD(model.head_parameters)),
       "head_budget parameter_budget budget head_params"},
      {"model.features", must_match,
       "head: numbers of a sample (auto: the data's)",
       automatic(MUMOE_FIELD(model.features)),
       "num_features n_features feature_dim in_features features_dim"
       " input_dim"},
      {"model.gate", must_match, "activation of the gate",
       choice(MUMOE_FIELD(model.mlp.gate.activation),
              {{GateActivation::entmax15, "entmax15", "entmax entmax_15 entmax1_5 sparsemax"},
               {GateActivation::softmax, "softmax", "soft"},
               {GateActivation::top_k, "top_k", "switch top1 top2 sparse"}}),
       "router gating routing router_type gate_type gate_activation"
       " router_activation"},
      {"model.gate_top_k", must_match, "experts that a token keeps, for top_k",
       plain(MUMOE_FIELD(model.mlp.gate.top_k)),
       "topk moe_topk moe_router_topk num_experts_per_tok experts_per_token"
       " k"},
      {"model.gate_norm", must_match, "normalisation of the gate's logits",
       choice(MUMOE_FIELD(model.mlp.gate.norm),
              {{GateNorm::layer, "layer", "layernorm layer_norm ln"},
               {GateNorm::batch, "batch", "batchnorm batch_norm bn"},
               {GateNorm::none, "none", "no off false identity"}}),
       "router_norm gate_normalization norm_topk_prob"},
      {"model.level_noise", must_match,
       "deviation at the start of the second and further levels of experts "
       "(0: equal rows, which cannot part)",
       plain(MUMOE_FIELD(model.mlp.level_noise)),
       "noise init_noise expert_init_std"},
      {"model.depth", must_match, "blocks", plain(MUMOE_FIELD(model.depth)),
       "layers n_layer n_layers num_layers num_hidden_layers blocks n_blocks"
       " num_blocks"},
      {"model.heads", must_match, "attention heads",
       plain(MUMOE_FIELD(model.heads)),
       "n_head n_heads num_heads num_attention_heads attention_heads"},
      {"model.width", must_match, "width of the residual stream",
       plain(MUMOE_FIELD(model.width)),
       "n_embd d_model hidden_size embed_dim embedding_dim embedding_size"
       " model_dim dim hidden_dim n_embed emb_dim"},
      {"model.hidden", must_match, "hidden width of an MLP (auto: 4 x width)",
       automatic(MUMOE_FIELD(model.mlp.hidden_dim)),
       "d_ff d_inner n_inner ffn_hidden_size ffn_dim intermediate_size"
       " mlp_hidden mlp_dim dim_feedforward mlp_ratio channels_mlp_dim"
       " channel_dim channel_hidden"},
      {"model.context", must_match, "tokens a sample",
       plain(MUMOE_FIELD(model.context)),
       "block_size seq_len seq_length sequence_length context_length"
       " context_size ctx n_ctx n_positions max_position_embeddings"
       " max_seq_len max_seq_length max_length window"},
      {"model.vocab", must_match,
       "rows of the embedding (auto: 256 for bytes, 50304 for gpt2)",
       automatic(MUMOE_FIELD(model.vocab)),
       "vocab_size n_vocab vocabulary vocabulary_size num_tokens"
       " padded_vocab_size"},
      {"model.patch", must_match, "Mixer, ViT: side of a patch in pixels",
       plain(MUMOE_FIELD(model.patch)),
       "patch_size"},
      {"model.image_size", must_match,
       "Mixer, ViT: side of an image in pixels (auto: the data's)",
       automatic(MUMOE_FIELD(model.image_size)),
       "img_size input_size resolution crop_size"},
      {"model.channels", must_match, "Mixer, ViT: of an image (auto: the data's)",
       automatic(MUMOE_FIELD(model.channels)),
       "in_chans in_channels num_channels n_channels image_channels"},
      {"model.classes", must_match, "of images or features (auto: the data's)",
       automatic(MUMOE_FIELD(model.classes)),
       "num_classes n_classes num_labels nb_classes n_labels"},
      {"model.token_hidden", must_match,
       "Mixer: hidden width of the MLP that mixes tokens (auto: width / 2)",
       automatic(MUMOE_FIELD(model.token_hidden)),
       "tokens_mlp_dim token_dim tokens_hidden token_mlp_dim"},
      {"model.token_rank", must_match,
       "Mixer: model.rank of what mixes tokens (auto: by its rule; given ranks "
       "have none: as the dense MLP)",
       token_rank_form(),
       "tokens_rank token_ranks"},
      {"model.stochastic_depth", must_match,
       "Mixer, ViT: share of samples that skip a sublayer of the last block in "
       "training; 0 in the first, in between in proportion",
       plain(MUMOE_FIELD(model.stochastic_depth)),
       "drop_path drop_path_rate stochastic_depth_rate stochastic_depth_prob"
       " survival_prob layerdrop"},
      {"model.label_smoothing", must_match,
       "of images or features: part of a target that all classes share, in "
       "training",
       plain(MUMOE_FIELD(model.label_smoothing)),
       "smoothing label_smoothing_factor"},
      {"model.norm_pre", must_match,
       "ViT: a layer norm before the first block and no bias of patches, as "
       "CLIP has it",
       plain(MUMOE_FIELD(model.norm_pre)),
       "pre_norm pre_layrnorm ln_pre"},
      {"model.norm_eps", must_match, "ViT: what norms add to variances",
       plain(MUMOE_FIELD(model.norm_epsilon)),
       "layer_norm_eps layer_norm_epsilon norm_epsilon ln_eps"},
      {"model.backbone", must_match,
       "ViT: trained, or frozen: the head alone is trained",
       choice(MUMOE_FIELD(model.frozen),
              {{false, "trained", "full finetune unfrozen"},
               {true, "frozen", "freeze linear_probe probe fixed"}}),
       "freeze freeze_backbone linear_probe backbone_frozen"},
      {"model.gelu", must_match,
       "of dense MLPs: exact, by the tanh formula, as GPT-2 was published, or "
       "quick: by the logistic function, as CLIP was",
       choice(MUMOE_FIELD(model.gelu),
              {{model::Gelu::exact, "exact", "erf none gelu"},
               {model::Gelu::tanh,
                "tanh",
                "gelu_new gelu_tanh gelu_pytorch_tanh approximate"},
               {model::Gelu::quick, "quick", "quick_gelu quickgelu"}}),
       "activation activation_function act_layer hidden_act act_fn"
       " approximate_gelu"},
      {"model.bias", must_match, "biases of linear layers and norms",
       plain(MUMOE_FIELD(model.bias)),
       "use_bias add_bias linear_bias add_bias_linear"},
      {"model.dropout", must_match,
       "GPT-2: probability that an element is dropped in training: of the "
       "embedding, attention's probabilities, and what attention and MLPs give",
       plain(MUMOE_FIELD(model.dropout)),
       "dropout_prob dropout_rate drop_rate p_dropout drop attn_dropout"
       " resid_dropout resid_pdrop embd_pdrop attn_pdrop hidden_dropout"
       " attention_dropout hidden_dropout_prob"},
      {"model.expert_bias", must_match, "a bias for every expert",
       plain(MUMOE_FIELD(model.mlp.expert_bias)),
       "moe_bias expert_biases"},
      {"data.source", free,
       "of text: speeches, novels, essays, kernel-docs, scripture, dictionary, "
       "a folder of .txt or .jsonl files (also .gz), or one with train.bin and "
       "val.bin; of images: fashion-mnist, glyphs, emoji, faces (synthetic), a "
       "folder with idx files, one with the folders train and val, a folder a "
       "class in each, or one of CelebA's form (list_attr_celeba.txt); of heads: "
       "a folder of mumoe data --features",
       plain(MUMOE_FIELD(source)),
       "dataset data data_path data_dir data_root train_data corpus"
       " dataset_name dataset_path train_file input input_file"},
      {"data.target", must_match,
       "images: class, or the attribute that is to be told of each, as Smiling "
       "of CelebA's (classes 0 and 1)",
       plain(MUMOE_FIELD(target)),
       "target_attribute target_attr attribute attr label label_name"
       " target_name target_column label_column"},
      {"data.augment", must_match,
       "images: what training ones go through (auto: crop_flip for idx files and "
       "CelebA's form, none for glyphs and emoji, imagenet for a folder a class)",
       choice(MUMOE_FIELD(augment),
              {{data::Augmentation::automatic, "auto"},
               {data::Augmentation::none, "none", "no off false"},
               {data::Augmentation::crop_flip, "crop_flip", "crop flip cifar small"},
               {data::Augmentation::imagenet, "imagenet", "randaugment rand_augment"},
               {data::Augmentation::resized_crop, "resized_crop", "rrc random_resized_crop clip"}}),
       "augmentation transforms transform aa auto_augment"},
      {"data.normalise", must_match,
       "images in files: by whose mean and deviation of each colour",
       choice(MUMOE_FIELD(normalisation),
              {{data::Normalisation::imagenet, "imagenet"},
               {data::Normalisation::clip, "clip", "openai"}}),
       "normalize normalization mean_std image_mean image_std"},
      {"data.bad_images", free,
       "images: those that cannot be decoded (skip: all are tried at the start)",
       choice(MUMOE_FIELD(bad_images),
              {{data::BadImages::refuse, "refuse", "fatal error stop"},
               {data::BadImages::skip, "skip", "ignore"}})},
      {"data.mixup", must_match,
       "images: blended by pairs, with weights from Beta(X, X) (0: not)",
       plain(MUMOE_FIELD(mixup)), "mixup_alpha mix_up"},
      {"data.workers", free,
       "threads of a rank that make batches of images or prepare text (auto: one "
       "a core)",
       automatic(MUMOE_FIELD(data_threads)),
       "loader_workers image_workers"},
      {"data.tokenizer", must_match, "how text becomes tokens",
       choice(MUMOE_FIELD(tokenizer), {{"bytes", "bytes", "byte char chars utf8 ascii"},
               {"gpt2", "gpt2", "bpe gpt_2 tiktoken gpt2_bpe r50k_base"}}),
       "tokenizer_name tokenizer_type tokenizer_model tokenizer_path"
       " encoding"},
      {"data.field", free, "lines of JSON: the string that is a line's text",
       plain(MUMOE_FIELD(field)),
       "text_field text_key text_column json_key json_keys content_key"},
      {"parallel.dp", free,
       "data-parallel ranks, any number up to train.batch (auto: all that tp "
       "leaves)",
       automatic(MUMOE_FIELD(parallel.dp)),
       "data_parallel data_parallel_size dp_size ddp replicas"
       " data_parallel_replicate_degree"},
      {"parallel.tp", noted, "tensor-parallel ranks",
       plain(MUMOE_FIELD(parallel.tp)),
       "tensor_parallel tensor_parallel_size tensor_model_parallel_size"
       " tp_size tensor_parallel_degree model_parallel model_parallel_size"
       " mp"},
      {"parallel.plan", replayed_at_same_tp,
       "how tp cuts a block (auto: by measured bandwidth)",
       choice(MUMOE_FIELD(parallel.plan),
              {{std::nullopt, "auto"}, {Plan::sequence, "sequence", "sp seq sequence_parallel megatron"},
               {Plan::bottleneck, "bottleneck"}, {Plan::rank, "rank"}}),
       "sharding tp_plan parallel_plan sequence_parallel strategy"},
      {"parallel.zero", free,
       "1: optimizer state cut over dp (ZeRO-1); 0: whole on each rank",
       plain(MUMOE_FIELD(parallel.zero)),
       "zero_stage fsdp deepspeed use_distributed_optimizer shard_optimizer"
       " zero_optimization distributed_optimizer"},
      {"parallel.backend", free,
       "who moves tensors (auto: nccl on GPUs, else mpi; null: nobody, one "
       "rank of dp x tp runs alone)",
       choice(MUMOE_FIELD(parallel.backend),
              {{BackendChoice::automatic, "auto"},
               {BackendChoice::mpi, "mpi", "gloo openmpi open_mpi mpich"},
               {BackendChoice::nccl, "nccl", "rccl cuda gpu"},
               {BackendChoice::null, "null", "none fake"}}),
       "dist_backend distributed_backend ddp_backend comm_backend"},
      {"parallel.wire", free,
       "gradients on their way (bf16: half the bytes, summed in fp32)",
       choice(MUMOE_FIELD(trainer.wire),
              {{Wire::fp32, "fp32", kFp32}, {Wire::bf16, "bf16", kBf16}}),
       "grad_dtype reduce_dtype comm_dtype grad_reduce_dtype compression"
       " communication_data_type grad_reduce_in_bf16"},
      {"parallel.tp_across_hosts", free, "allow a tp group to span hosts",
       plain(MUMOE_FIELD(parallel.tp_across_hosts))},
      {"parallel.deadline", free,
       "seconds a step, a batch of an evaluation or a checkpoint may take "
       "(start, first step: twice that) before ranks say where they are and "
       "the job ends (on several hosts: after 30 s at least)",
       plain(MUMOE_FIELD(parallel.deadline)),
       "timeout ddp_timeout nccl_timeout distributed_timeout_minutes"},
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
       plain(MUMOE_FIELD(schedule.lr)),
       "learning_rate max_lr peak_lr base_lr init_lr"},
      {"optimizer.beta1", must_match, "AdamW beta1",
       plain(MUMOE_FIELD(optimizer.beta1)),
       "adam_beta1 adamw_beta1 betas b1"},
      {"optimizer.beta2", must_match, "AdamW beta2",
       plain(MUMOE_FIELD(optimizer.beta2)),
       "adam_beta2 adamw_beta2 b2"},
      {"optimizer.eps", must_match, "AdamW epsilon",
       plain(MUMOE_FIELD(optimizer.eps)),
       "epsilon adam_eps adam_epsilon"},
      {"optimizer.weight_decay", must_match,
       "decay of tensors with 2 or more dims",
       plain(MUMOE_FIELD(optimizer.weight_decay)),
       "wd l2 adam_weight_decay"},
      {"optimizer.decay_vectors", must_match, "decay norms and biases as well",
       plain(MUMOE_FIELD(optimizer.decay_vectors))},
      {"optimizer.clip", must_match, "largest gradient norm (0: any)",
       plain(MUMOE_FIELD(optimizer.clip)),
       "grad_clip clip_grad max_grad_norm gradient_clipping"
       " gradient_clip_val grad_clip_norm clip_norm max_norm clipping"},
      {"schedule.kind", must_match, "learning rate after the warm-up",
       choice(MUMOE_FIELD(schedule.kind),
              {{ScheduleKind::cosine, "cosine", "cos cosine_annealing"},
               {ScheduleKind::linear, "linear", "linear_decay"},
               {ScheduleKind::constant, "constant",
                "none const constant_with_warmup fixed"},
               {ScheduleKind::wsd, "wsd",
                "warmup_stable_decay trapezoidal trapezoid cooldown"
                " constant_with_cooldown stable"}}),
       "scheduler lr_scheduler lr_scheduler_type lr_decay_style lr_schedule"
       " schedule decay_lr schedule_type"},
      {"schedule.warmup", replayed,
       "steps of linear growth (auto: a tenth of schedule.steps, at most 2000)",
       automatic(MUMOE_FIELD(schedule.warmup), kOpenSteps),
       "warmup_steps warmup_iters lr_warmup_iters lr_warmup_steps"
       " num_warmup_steps warm_up warmup_ratio lr_warmup_fraction"},
      {"schedule.decay", replayed,
       "wsd: the last steps of schedule.steps, in which the rate falls to min_lr, "
       "with 1 - sqrt (auto: a fifth of schedule.steps)",
       automatic(MUMOE_FIELD(schedule.decay), kOpenSteps),
       "cooldown_steps cooldown_iters num_decay_steps wsd_decay"
       " lr_wsd_decay_iters wsd_fract_decay decay_fraction cooldown_frac"},
      {"schedule.min_lr", must_match,
       "learning rate at the end (auto: a tenth of optimizer.lr)",
       automatic(MUMOE_FIELD(schedule.min_lr), kOpenRate),
       "lr_min final_lr end_lr eta_min min_learning_rate"},
      {"schedule.steps", replayed,
       "step at which min_lr is reached (auto: train.steps)",
       automatic(MUMOE_FIELD(schedule.steps)),
       "lr_decay_iters lr_decay_steps decay_steps t_max total_steps"},
      {"train.steps", free,
       "optimizer steps of the whole run (auto: as many as train.epochs asks)",
       automatic(MUMOE_FIELD(trainer.steps), kStepsByEpochs),
       "max_iters max_steps iters iterations num_steps n_steps train_iters"
       " training_steps num_iterations max_train_steps num_training_steps"},
      {"train.epochs", free,
       "times that the training samples are seen, instead of train.steps (0: "
       "that says it)",
       plain(MUMOE_FIELD(epochs))},
      {"train.batch", must_match, "samples a step, all ranks",
       plain(MUMOE_FIELD(trainer.batch)),
       "batch_size global_batch_size total_batch_size train_batch_size bs"
       " total_batch"},
      {"train.micro_batch", free,
       "samples a rank holds at once, where ranks have unequal numbers at most "
       "(auto: all of a step)",
       automatic(MUMOE_FIELD(trainer.micro_batch)),
       "micro_batch_size mbs per_device_train_batch_size device_batch_size"
       " local_batch_size gradient_accumulation_steps grad_accum"
       " gradient_accumulation accumulate_grad_batches accumulation_steps"
       " grad_accum_steps train_micro_batch_size_per_gpu"},
      {"train.precision", replayed,
       "of weights and activations (auto: bf16 on GPUs, and on CPUs where it "
       "is clearly the faster)",
       choice(MUMOE_FIELD(precision),
              {{Precision::automatic, "auto", "mixed amp"},
               {Precision::bf16, "bf16", kBf16},
               {Precision::fp32, "fp32", kFp32},
               {Precision::fp64, "fp64", "float64 double f64 torch_float64 64"}}),
       "dtype compute_dtype torch_dtype param_dtype data_type"},
      {"train.device", free, "where to compute",
       choice(MUMOE_FIELD(device),
              {{DeviceKind::automatic, "auto"}, {DeviceKind::cpu, "cpu"},
               {DeviceKind::cuda, "cuda", "gpu cuda0 nvidia gpus"}}),
       "accelerator device_type use_cuda cpu_only no_cuda"},
      {"train.gemm", replayed,
       "library for fp32 products on CPUs (auto: onednn on AMD, else mkl, "
       "unless the other is clearly faster here)",
       choice(MUMOE_FIELD(gemm),
              {{GemmChoice::automatic, "auto"}, {GemmChoice::mkl, "mkl", "onemkl intel"},
               {GemmChoice::onednn, "onednn", "dnnl mkldnn one_dnn"}}),
       "blas matmul gemm_library blas_library"},
      {"train.deterministic", free,
       "on GPUs: the same bits each time, at some cost to attention (CPUs "
       "always give them)",
       plain(MUMOE_FIELD(deterministic)),
       "use_deterministic_algorithms deterministic_algorithms"
       " cudnn_deterministic full_determinism deterministic_mode"},
      {"train.mixing", must_match,
       "experts mixed by dense products or by reading the active ones (auto: "
       "by their share)",
       choice(MUMOE_FIELD(model.mlp.mixing),
              {{Mixing::automatic, "auto"}, {Mixing::dense, "dense"},
               {Mixing::sparse, "sparse"}}),
       "sparse_experts expert_mixing dispatch"},
      {"train.recompute", free,
       "what is formed again in backward instead of kept: mixture (or yes), the "
       "hidden layers of experts (no effect under the plan rank); everything, "
       "each block, of which only the input is kept; none (or no)",
       recompute_form(),
       "activation_checkpointing gradient_checkpointing"
       " checkpoint_activations recompute_activations recompute_granularity"
       " activation_recomputation remat"},
      {"train.seed", must_match, "of all random numbers",
       plain(MUMOE_FIELD(trainer.seed)),
       "random_seed manual_seed rng_seed seed_everything"},
      {"train.out", free,
       "run directory (auto: runs/NAME-1, -2, ..., NAME that of the "
       "configuration file, or default; none: nothing is kept)", out_form(),
       "out_dir output_dir output save_dir save run_dir log_dir logdir"
       " default_root_dir experiment_dir workdir name run_name"},
      {"train.resume", free,
       "go on from the newest checkpoint of train.out (auto: if it has one)",
       resume_form(),
       "resume_from_checkpoint load init_from restart auto_resume"
       " resume_from continue resume_training"},
      {"train.force", free,
       "keys, with commas between, that a resumed run may have otherwise than its "
       "checkpoint, such as optimizer.lr or data.source",
       plain(MUMOE_FIELD(force)),
       "override_opt_param override_lr reset_optimizer ignore_mismatch"
       " use_checkpoint_opt_param_scheduler override_opt_param_scheduler"},
      {"train.from", free,
       "weights to begin with: a run, a checkpoint, or files that mumoe convert "
       "reads (empty: none); a run that resumes goes on with its own",
       plain(MUMOE_FIELD(from)),
       "finetune_from pretrained pretrained_model pretrained_path"
       " load_weights init_weights initial_weights warm_start"},
      {"train.branch", free,
       "a checkpoint, or a run (its newest), that this run goes on from in a "
       "folder of its own, with another end of the schedule (empty: none)",
       plain(MUMOE_FIELD(branch)),
       "branch_from fork fork_from cooldown_from"},
      {"train.eval_every", free,
       "steps between evaluations (0: only at the end)",
       plain(MUMOE_FIELD(trainer.eval_every)),
       "eval_interval eval_steps validate_every val_every val_interval"
       " validation_interval evaluation_interval val_check_interval"
       " eval_freq"},
      {"train.eval_windows", free, "validation samples of an evaluation",
       plain(MUMOE_FIELD(trainer.eval_windows)),
       "eval_iters eval_batches val_batches val_steps limit_val_batches"
       " eval_samples num_eval_samples"},
      {"train.bad_step", free,
       "of a loss or gradient norm that is not finite or a spike: stop; skip the "
       "update; rewind to the last checkpoint and leave out the samples since",
       choice(MUMOE_FIELD(trainer.bad_step),
              {{BadStep::stop, "stop", "abort fail error raise"},
               {BadStep::skip, "skip", "ignore continue"},
               {BadStep::rewind, "rewind", "rollback restore"}}),
       "skip_nonfinite_grad nan_policy terminate_on_nan detect_anomaly"
       " skip_nan nan_check"},
      {"train.spike", free,
       "robust standard deviations above the median of the last steps at which a "
       "loss or gradient norm is a spike (0: never)",
       plain(MUMOE_FIELD(trainer.spike)),
       "spike_threshold loss_spike skip_loss_z skip_grad_z skip_update_lossz"
       " skip_update_gradz outlier"},
      {"train.spike_window", free, "steps by which a spike is one",
       plain(MUMOE_FIELD(trainer.spike_window)), "loss_window"},
      {"train.max_minutes", free,
       "minutes after which the run saves and stops, as if it was asked to "
       "(0: no limit)",
       plain(MUMOE_FIELD(trainer.max_minutes)),
       "max_time time_limit exit_duration_in_mins exit_duration max_duration"
       " max_hours walltime"},
      {"checkpoint.every", free,
       "steps between checkpoints (0: by time and at the end)",
       plain(MUMOE_FIELD(trainer.checkpoint_every)),
       "save_interval save_every save_steps checkpoint_interval save_freq"
       " ckpt_every ckpt_interval train.checkpoint_every checkpoint_every"},
      {"checkpoint.minutes", free,
       "minutes after a checkpoint at which the next is due (0: not by time)",
       plain(MUMOE_FIELD(trainer.checkpoint_minutes)),
       "save_minutes checkpoint_time checkpoint_every_minutes"},
      {"checkpoint.last", free,
       "whether a run that comes to its end saves there; one that is stopped "
       "does in any case",
       plain(MUMOE_FIELD(trainer.checkpoint_last)),
       "save_last save_final save_at_end checkpoint_at_end save_on_train_end"},
      {"checkpoint.keep", free, "newest checkpoints kept",
       plain(MUMOE_FIELD(trainer.checkpoint_keep)),
       "save_total_limit keep_last keep_last_n max_to_keep save_top_k"
       " keep_latest_k"},
      {"checkpoint.best", free,
       "keep the checkpoint of the lowest validation loss as checkpoints/best",
       plain(MUMOE_FIELD(trainer.checkpoint_best)),
       "save_best load_best_model_at_end save_best_only keep_best"
       " always_save_checkpoint"},
      {"checkpoint.async", free,
       "write checkpoints behind the steps that follow, from a copy in memory",
       plain(MUMOE_FIELD(trainer.checkpoint_async)),
       "async_save async_checkpoint async_mode non_blocking"},
      {"checkpoint.parity", free,
       "1: write sums by which any one rank's lost or damaged files are rebuilt,"
       " 1/(ranks - 1) more bytes (one rank: a copy); 0: none",
       plain(MUMOE_FIELD(trainer.checkpoint_parity)),
       "redundancy erasure_coding raid"},
      {"checkpoint.on_failure", free,
       "of a checkpoint that cannot be written: continue and try again when the "
       "next is due, or stop",
       choice(MUMOE_FIELD(trainer.checkpoint_failure),
              {{SaveFailure::proceed, "continue", "ignore warn proceed"},
               {SaveFailure::stop, "stop", "abort fail error"}}),
       ""},
      {"log.every", free, "steps between lines of progress",
       plain(MUMOE_FIELD(trainer.log_every)),
       "log_interval logging_steps log_every_n_steps print_every log_freq"
       " log_steps train.log_every log_every"},
      {"log.experts", free,
       "steps between those of whose tokens metrics.jsonl says how each gate "
       "used its experts: active, dead, entropy, largest coefficient (0: never)",
       plain(MUMOE_FIELD(trainer.experts_every)),
       "expert_interval expert_log_interval log_experts moe_log_interval"
       " router_log_interval expert_stats"},
      {"log.experts_line", free,
       "the newest of these in lines of progress: share of active experts, "
       "dead ones, how many evenly used ones that would be",
       plain(MUMOE_FIELD(trainer.experts_line)),
       "show_experts expert_line"},
      {"log.sample", free,
       "tokens of a text that a language model writes after each evaluation, "
       "for metrics.jsonl, report and TensorBoard (0: none)",
       plain(MUMOE_FIELD(trainer.sample_tokens)),
       "sample_tokens sample_every generate_samples log_samples"},
      {"log.tensorboard", free,
       "event files of TensorBoard: no, yes (in the run directory), or the "
       "folder of many runs in which they have one of their own",
       plain(MUMOE_FIELD(trainer.tensorboard)),
       "tensorboard_dir tensorboard_log_dir use_tensorboard tb_dir logging_dir"
       " event_files"},
      {"log.prometheus", free,
       "file of the run's last figures in the form of Prometheus, written "
       "again every few seconds (empty: none); its collector of text files "
       "reads *.prom",
       plain(MUMOE_FIELD(trainer.prometheus)),
       "prometheus_file prom textfile metrics_file"},
      {"log.trace", free, "file of a Chrome trace (empty: none)",
       plain(MUMOE_FIELD(trace)),
       "trace_path chrome_trace profile_path"},
  };
}
// clang-format on

}  // namespace

const std::vector<Key>& option_table() {
  static const std::vector<Key> table = make_table();
  return table;
}

bool shapes_no_weight(const std::string& key) {
  static constexpr std::string_view kOfTraining[] = {"model.level_noise",
                                                     "model.backbone",
                                                     "model.dropout",
                                                     "model.stochastic_depth",
                                                     "model.label_smoothing"};
  return std::ranges::find(kOfTraining, key) != std::end(kOfTraining);
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

std::vector<Word> key_words(const std::string& section) {
  std::vector<Word> words;
  if (section.empty()) return words;
  for (const Key& key : option_table()) {
    if (section == "*" || key.name.starts_with(section + ".")) {
      words.push_back({key.name, key.others});
    }
  }
  return words;
}

}  // namespace mumoe::run
