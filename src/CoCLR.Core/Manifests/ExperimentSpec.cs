// Why this exists: what a person writes in a CoCLRExperiment manifest. The CRD, the form, the reference page and the validation are all
// made from these types; a property's doc comment is its description everywhere.
using System.Text.Json.Serialization;

namespace CoCLR.Core.Manifests;

/// <summary>What representation to learn from which videos, and how to evaluate it.</summary>
[MethodRules]
[CelRule("self.training.batchSize <= self.training.queueSize", ExperimentRules.BatchInQueue, ".training.batchSize")]
[CelRule("self.training.batchSize > self.training.queueSize || self.training.queueSize % self.training.batchSize == 0", ExperimentRules.QueueMultiple, ".training.queueSize")]
[CelRule("self.training.shards in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]", ExperimentRules.ShardPower, ".training.shards")]
[CelRule("self.training.batchSize % self.training.shards == 0", ExperimentRules.ShardMultiple, ".training.shards")]
[CelRule("self.training.batchSize % self.training.shards != 0 || self.training.batchSize / self.training.shards % self.training.batchNormGroups == 0", ExperimentRules.GroupMultiple, ".training.batchNormGroups")]
[CelRule("self.resources.gpus <= 1 || self.training.shards % self.resources.gpus == 0", ExperimentRules.GpusShareShards, ".resources.gpus")]
[CelRule("self.cotrain.mineIn != 'features' || self.cotrain.order == 'alternating'", ExperimentRules.FeaturesAlternate, ".cotrain.mineIn")]
[CelRule("self.cotrain.mineAmong != 'videos' || self.cotrain.order == 'alternating'", ExperimentRules.VideosAlternate, ".cotrain.mineAmong")]
[CelRule("self.cotrain.mineAmong == 'videos' || (self.cotrain.mineWith == 'miner' && self.cotrain.whiten == 0 && !self.cotrain.mutual)", ExperimentRules.WholeVideos, ".cotrain.mineAmong")]
[CelRule("!has(self.cotrain.queueSize) || (self.cotrain.queueSize >= self.training.batchSize && self.cotrain.queueSize % self.training.batchSize == 0)", ExperimentRules.TurnQueueMultiple, ".cotrain.queueSize")]
[CelRule(ExperimentRules.RgbScheduleCel, ExperimentRules.PretrainSchedule, ".training.optimizer")]
[CelRule(ExperimentRules.FlowScheduleCel, ExperimentRules.PretrainSchedule, ".training.optimizer")]
[CelRule(ExperimentRules.TurnScheduleCel, ExperimentRules.TurnSchedule, ".cotrain")]
public sealed record ExperimentSpec
{
    /// <summary>Where the videos come from and how they are stored.</summary>
    [RequiredField]
    public DatasetSpec Dataset { get; init; } = new();

    /// <summary>The views to learn from: RGB, Flow or both. CoCLR and CMC need both.</summary>
    [Bounds(1, 2), ListKey]
    public IReadOnlyList<View> Views { get; init; } = [View.Rgb, View.Flow];

    /// <summary>The network.</summary>
    public ModelSpec Model { get; init; } = new();

    /// <summary>The shape of a training clip.</summary>
    public ClipSpec Clip { get; init; } = new();

    /// <summary>How optical flow is computed.</summary>
    public FlowSpec Flow { get; init; } = new();

    /// <summary>How a representation is learned.</summary>
    public TrainingSpec Training { get; init; } = new();

    /// <summary>How the two views teach each other (method CoCLR).</summary>
    public CotrainSpec Cotrain { get; init; } = new();

    /// <summary>How clips are changed at random while training.</summary>
    public AugmentationSpec Augmentation { get; init; } = new();

    /// <summary>How the learned representation is measured.</summary>
    public EvaluationSpec Evaluation { get; init; } = new();

    /// <summary>Seed of everything random: weights, order, sampling, augmentation.</summary>
    [Bounds(0, 2147483647)]
    public int Seed { get; init; }

    /// <summary>Device of the stages: auto (a GPU when there is one), cpu, cuda or cuda:N.</summary>
    [Pattern(@"^(auto|cpu|cuda(:[0-9]{1,2})?)$", "auto, cpu, cuda or cuda:N"), Bounds(1, 8)]
    public string Device { get; init; } = "auto";

    /// <summary>Stop the experiment after a checkpoint and free its device; false continues it.</summary>
    [MutableField, ClusterOnly]
    public bool Suspend { get; init; }

    /// <summary>The controller in charge; the operator leaves an experiment of another controller untouched.</summary>
    [ClusterOnly, Bounds(1, 63), Pattern(@"^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$", "a controller name such as coclr.dev/operator")]
    public string? ManagedBy { get; init; }

    /// <summary>Container image of the stages; the operator's own version when absent.</summary>
    [ClusterOnly, Bounds(1, 512), Pattern(@"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", "an image reference")]
    public string? Image { get; init; }

    /// <summary>Secrets of the same namespace for pulling the image, of those that the operator allows.</summary>
    [ClusterOnly, Bounds(0, 8), ItemLength(253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning), ListKey]
    public IReadOnlyList<string> ImagePullSecrets { get; init; } = [];

    /// <summary>Service account of the stages, of those that the operator allows; its token is not mounted.</summary>
    [ClusterOnly, Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? ServiceAccountName { get; init; }

    /// <summary>What a training pod asks for. A change counts for pods that do not run yet, so that more memory after an OOMKilled loses no checkpoint.</summary>
    [MutableField, ClusterOnly]
    public ResourcesSpec Resources { get; init; } = new();

    /// <summary>Where training pods may run.</summary>
    [ClusterOnly]
    public SchedulingSpec? Scheduling { get; init; }

    /// <summary>Kueue queue (LocalQueue) that admits the Jobs.</summary>
    [ClusterOnly, Bounds(1, 63), Pattern(@"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a DNS label")]
    public string? QueueName { get; init; }

    /// <summary>Where the run folder lives.</summary>
    [ClusterOnly]
    public StorageSpec Storage { get; init; } = new();

    /// <summary>Extra environment variables of the training container.</summary>
    [ClusterOnly, Bounds(0, 32), ListKey("name")]
    public IReadOnlyList<EnvironmentVariableSpec> Env { get; init; } = [];

    /// <summary>How often a stage is tried again after a failure that may pass. Disruptions do not count.</summary>
    [Bounds(0, 20)]
    public int Retries { get; init; } = 3;

    /// <summary>Seconds of running time after which the experiment fails; suspended time does not count.</summary>
    [MutableField, ClusterOnly, Bounds(1, 31536000)]
    public int? ActiveDeadlineSeconds { get; init; }

    /// <summary>Seconds a stage may wait for its pod to run before the experiment fails.</summary>
    [MutableField, ClusterOnly, Bounds(1, 31536000)]
    public int? PreRunningDeadlineSeconds { get; init; }

    /// <summary>Seconds without progress after which the pod of a running stage is replaced; it goes on from its checkpoint and counts as a retry. Never when absent.</summary>
    [MutableField, ClusterOnly, Bounds(60, 31536000)]
    public int? StallDeadlineSeconds { get; init; }

    /// <summary>What happens when the node of a stage is lost.</summary>
    [MutableField, ClusterOnly]
    public NodeLostSpec NodeLostPolicy { get; init; } = new();

    /// <summary>Seconds after which a finished experiment is deleted, by outcome; kept when absent.</summary>
    [MutableField, ClusterOnly]
    public TtlSpec? TtlSecondsAfterFinished { get; init; }

    /// <summary>Epochs that a view is trained before the first turn, or altogether by the methods without turns.</summary>
    /// <param name="view">A view.</param>
    public int PretrainEpochs(View view) =>
        (!Training.Method.Traits().CoTrains ? null : view == View.Rgb ? Cotrain.RgbPretrainEpochs : Cotrain.FlowPretrainEpochs) ?? Training.Epochs;

    /// <summary>The spec as a turn of co-training sees it: with its own queue.</summary>
    public ExperimentSpec AsTurn() => Cotrain.QueueSize is { } length ? this with { Training = Training with { QueueSize = length } } : this;

    /// <summary>Optimizer and schedule of the turns.</summary>
    public OptimizerSpec TurnOptimizer() => Cotrain.Optimizer?.Over(Training.Optimizer) ?? Training.Optimizer;
}

/// <summary>A view of a video: its pixels or their motion (paper, section 3).</summary>
public enum View
{
    /// <summary>Colour frames.</summary>
    [JsonStringEnumMemberName("RGB")] Rgb,

    /// <summary>Optical flow.</summary>
    [JsonStringEnumMemberName("Flow")] Flow,
}

/// <summary>Where the videos come from and how they are stored.</summary>
public sealed record DatasetSpec
{
    /// <summary>Exactly one place the videos come from.</summary>
    [RequiredField]
    public DatasetSource Source { get; init; } = new();

    /// <summary>How files name classes and splits; Auto looks at what is there.</summary>
    public DatasetLayout Layout { get; init; } = DatasetLayout.Auto;

    /// <summary>Number of the official split (UCF101, HMDB51) or fold.</summary>
    [Bounds(1, 20)]
    public int Split { get; init; } = 1;

    /// <summary>File with the training videos, relative to the data set; the layout's own when absent.</summary>
    [Bounds(1, 255), Pattern(@"^[^/].*$", "a relative path")]
    public string? TrainList { get; init; }

    /// <summary>File with the test videos, relative to the data set; the layout's own when absent.</summary>
    [Bounds(1, 255), Pattern(@"^[^/].*$", "a relative path")]
    public string? TestList { get; init; }

    /// <summary>Short side of the stored frames in pixels; 1.15 times clip.size when absent.</summary>
    [Bounds(16, 1080)]
    public int? StoredSize { get; init; }

    /// <summary>Frames per second of the stored frames; the video's own rate when absent.</summary>
    [Bounds(1, 120)]
    public int? FrameRate { get; init; }

    /// <summary>Fraction of broken videos above which the data set is refused.</summary>
    [DecimalString(0, 1)]
    public string MaxBadFraction { get; init; } = "0.05";
}

/// <summary>How a data set names its classes and splits.</summary>
public enum DatasetLayout
{
    /// <summary>Recognised from the files that are there.</summary>
    Auto,

    /// <summary>One folder a class; the split is made by group, or folders named train and test.</summary>
    ClassFolders,

    /// <summary>classInd.txt, trainlistNN.txt, testlistNN.txt.</summary>
    [JsonStringEnumMemberName("UCF101")] Ucf101,

    /// <summary>CLASS_test_splitN.txt files.</summary>
    [JsonStringEnumMemberName("HMDB51")] Hmdb51,

    /// <summary>Kinetics CSV lists.</summary>
    Kinetics,

    /// <summary>manifest.csv with the columns path, label, split, group.</summary>
    Manifest,
}

/// <summary>Exactly one place the videos come from.</summary>
[CelRule("(has(self.path) ? 1 : 0) + (has(self.volumeClaim) ? 1 : 0) + (has(self.s3) ? 1 : 0) + (has(self.synthetic) ? 1 : 0) == 1", ExperimentRules.OneSource)]
public sealed record DatasetSource
{
    /// <summary>A folder: on this machine, or baked into the image of a training pod.</summary>
    [Bounds(1, 1024), Pattern(@"^[^\x00-\x1f]+$", "a folder")]
    public string? Path { get; init; }

    /// <summary>A folder of an existing claim of the same namespace.</summary>
    [ClusterOnly]
    public VolumeClaimSource? VolumeClaim { get; init; }

    /// <summary>A prefix of an S3 bucket, copied to the run's storage once.</summary>
    [ClusterOnly]
    public S3Source? S3 { get; init; }

    /// <summary>Synthetic actions made on the spot: classes differ in motion only.</summary>
    public SyntheticSource? Synthetic { get; init; }
}

/// <summary>A folder of a persistent volume claim.</summary>
public sealed record VolumeClaimSource
{
    /// <summary>Name of the claim.</summary>
    [RequiredField, Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string Name { get; init; } = "";

    /// <summary>Folder inside the claim.</summary>
    [Bounds(0, 1024), Pattern(@"^([A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*)?$", "a relative path without ..")]
    public string Path { get; init; } = "";
}

/// <summary>A prefix of an S3 bucket.</summary>
public sealed record S3Source
{
    /// <summary>Name of the bucket.</summary>
    [RequiredField, Bounds(3, 63), Pattern(@"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", "a bucket name")]
    public string Bucket { get; init; } = "";

    /// <summary>Prefix of the keys.</summary>
    [Bounds(0, 512), Pattern(@"^[A-Za-z0-9!_.*'()/-]*$", "a key prefix")]
    public string Prefix { get; init; } = "";

    /// <summary>Endpoint for other S3 services than AWS.</summary>
    [Bounds(1, 253), Pattern(@"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", "an http(s) address")]
    public string? Endpoint { get; init; }

    /// <summary>Region.</summary>
    [Bounds(1, 32), Pattern(@"^[a-z0-9-]+$", "a region name")]
    public string Region { get; init; } = "us-east-1";

    /// <summary>Secret of the same namespace with the keys accessKeyId and secretAccessKey.</summary>
    [Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? SecretName { get; init; }
}

/// <summary>Synthetic actions: real encoded video files whose class is defined by motion alone.</summary>
public sealed record SyntheticSource
{
    /// <summary>Number of motion classes.</summary>
    [Bounds(2, 16)]
    public int Classes { get; init; } = 8;

    /// <summary>Training groups (sibling clips of one look) per class.</summary>
    [Bounds(1, 10000)]
    public int TrainGroups { get; init; } = 15;

    /// <summary>Test groups per class.</summary>
    [Bounds(1, 10000)]
    public int TestGroups { get; init; } = 5;

    /// <summary>Sibling clips per group.</summary>
    [Bounds(1, 16)]
    public int GroupSize { get; init; } = 4;

    /// <summary>Frames per clip.</summary>
    [Bounds(8, 1000)]
    public int Frames { get; init; } = 32;

    /// <summary>Side of the square frames in pixels.</summary>
    [Bounds(16, 512)]
    public int Size { get; init; } = 64;

    /// <summary>Frames per second of the files.</summary>
    [Bounds(1, 120)]
    public int FrameRate { get; init; } = 25;

    /// <summary>Contrast of the background in percent; 0 is one plain colour. Appearance tells nothing about the class either way.</summary>
    [Bounds(0, 100)]
    public int Clutter { get; init; } = 100;

    /// <summary>Mean radius of the moving sprite in percent of the frame.</summary>
    [Bounds(8, 35)]
    public int SpriteSize { get; init; } = 28;

    /// <summary>How far the sprite swings to each side of its middle, in percent of the frame.</summary>
    [Bounds(5, 40)]
    public int Swing { get; init; } = 20;

    /// <summary>Seed of the data; independent of the experiment's seed.</summary>
    [Bounds(0, 2147483647)]
    public int Seed { get; init; }
}

/// <summary>The network (method.md 1a).</summary>
public sealed record ModelSpec
{
    /// <summary>S3D, S3DG (self-gating), S3DMini (S3D at a fraction of its width, for CPUs) or R2Plus1D18.</summary>
    public BackboneName Backbone { get; init; } = BackboneName.S3D;

    /// <summary>Width of S3DMini as a fraction of S3D.</summary>
    [DecimalString(0.0625, 1)]
    public string Width { get; init; } = "0.25";

    /// <summary>Dimension of the projection that the contrastive loss sees.</summary>
    [Bounds(8, 2048)]
    public int ProjectionSize { get; init; } = 128;
}

/// <summary>The families of networks.</summary>
public enum BackboneName
{
    /// <summary>Separable 3-D Inception without gating.</summary>
    S3D,

    /// <summary>S3D with self-gating.</summary>
    S3DG,

    /// <summary>S3D at a fraction of its width.</summary>
    S3DMini,

    /// <summary>R(2+1)D with 18 layers.</summary>
    R2Plus1D18,
}

/// <summary>The shape of a clip.</summary>
public sealed record ClipSpec
{
    /// <summary>Frames per clip; the networks halve time three times.</summary>
    [Bounds(8, 128)]
    public int Frames { get; init; } = 32;

    /// <summary>Distance between sampled frames.</summary>
    [Bounds(1, 16)]
    public int Stride { get; init; } = 1;

    /// <summary>Side of the square crop in pixels; the networks halve it five times.</summary>
    [Bounds(32, 512)]
    public int Size { get; init; } = 128;
}

/// <summary>How optical flow is computed (method.md 1f).</summary>
public sealed record FlowSpec
{
    /// <summary>TVL1 (the reference) or Fast.</summary>
    public FlowAlgorithm Algorithm { get; init; } = FlowAlgorithm.TvL1;

    /// <summary>
    /// Largest displacement that is stored, in pixels of a frame of 240 lines; larger ones are clipped. auto: the 99.5th percentile of |displacement| over a
    /// sample of the data set, kept in the store; the published code's 20 with compatibility: reference.
    /// </summary>
    [Pattern(@"^(auto|[0-9]{1,3}(\.[0-9]{1,3})?)$", "auto or a number of pixels such as \"20\""), Bounds(1, 8)]
    [IntegerOrString, JsonConverter(typeof(IntegerOrStringConverter))]
    public string Bound { get; init; } = "auto";

    /// <summary>
    /// Short side at most, in pixels, of the frames that flow is computed on: the video's own size where that is smaller. Motion is lost in frames as small as those that are
    /// stored; the field is resampled to their size afterwards.
    /// </summary>
    [Bounds(32, 1080)]
    public int Size { get; init; } = 240;

    /// <summary>Subtracts the median displacement of each frame: most of what a moving camera adds.</summary>
    public bool Center { get; init; }
}

/// <summary>Optical-flow algorithms.</summary>
public enum FlowAlgorithm
{
    /// <summary>Duality-based TV-L1.</summary>
    [JsonStringEnumMemberName("TVL1")] TvL1,

    /// <summary>A faster approximation.</summary>
    Fast,
}

/// <summary>How a representation is learned (method.md 1a to 1c).</summary>
public sealed record TrainingSpec
{
    /// <summary>InfoNCE, UberNCE (labels), CMC (across views) or CoCLR (the views mine positives for each other).</summary>
    public Method Method { get; init; } = Method.CoCLR;

    /// <summary>Epochs of the pretrain stages.</summary>
    [Bounds(0, 100000)]
    public int Epochs { get; init; } = 300;

    /// <summary>Videos per step.</summary>
    [Bounds(2, 4096)]
    public int BatchSize { get; init; } = 32;

    /// <summary>Length of the key queue.</summary>
    [Bounds(2, 1048576)]
    public int QueueSize { get; init; } = 2048;

    /// <summary>
    /// The keys of the batch at hand are negatives of one another too: the queue takes them before the comparison instead of after it. Then keys cannot be told from negatives by
    /// their age, which short trainings exploit instead of learning.
    /// </summary>
    public bool BatchNegatives { get; init; }

    /// <summary>Momentum of the key encoder.</summary>
    [DecimalString(0, 1)]
    public string Momentum { get; init; } = "0.999";

    /// <summary>Temperature of the contrastive softmax.</summary>
    [DecimalString(0.0001, 100)]
    public string Temperature { get; init; } = "0.07";

    /// <summary>
    /// Parts of a batch, a power of two: each has batch-norm statistics of its own, and a step follows the mean of their gradients. Where and when a shard is computed does not
    /// change the numbers: one after the other on one GPU, or side by side on several. The batch size is that of the whole. The paper's 4 GPUs of 32 clips are batchSize 128, shards 4.
    /// </summary>
    [Bounds(1, 1024)]
    public int Shards { get; init; } = 1;

    /// <summary>Groups in which the keys of a shard are normalised, in a shuffled order (shuffle-BN on one device).</summary>
    [Bounds(1, 64)]
    public int BatchNormGroups { get; init; } = 1;

    /// <summary>Optimizer and schedule.</summary>
    public OptimizerSpec Optimizer { get; init; } = new();

    /// <summary>Arithmetic of training and fine-tuning; weights, norms and losses stay in 32 bits, and features are always extracted in 32 bits.</summary>
    public Precision Precision { get; init; } = Precision.Fp32;

    /// <summary>reference follows the published code in every detail where this platform does better (docs/method.md).</summary>
    public Compatibility Compatibility { get; init; } = Compatibility.Platform;

    /// <summary>Steps between checkpoints inside an epoch; one checkpoint an epoch when absent.</summary>
    [Bounds(1, 1000000)]
    public int? CheckpointEverySteps { get; init; }

    /// <summary>Checkpoints kept beside the best one.</summary>
    [Bounds(1, 100)]
    public int KeepCheckpoints { get; init; } = 2;
}

/// <summary>Arithmetic of the training steps.</summary>
public enum Precision
{
    /// <summary>32-bit floating point.</summary>
    [JsonStringEnumMemberName("fp32")] Fp32,

    /// <summary>Tensor cores of an NVIDIA GPU with 10 mantissa bits on inputs of convolutions and products; on a processor the same as fp32, which the log says.</summary>
    [JsonStringEnumMemberName("tf32")] Tf32,

    /// <summary>Convolutions on bfloat16 casts of activations and weights; weights and checkpoints stay in 32 bits. Meant for GPUs; works on a processor, slower than fp32.</summary>
    [JsonStringEnumMemberName("bf16")] Bf16,
}

/// <summary>Whether known weaknesses of the reference code are kept for side-by-side runs.</summary>
public enum Compatibility
{
    /// <summary>This platform's choices.</summary>
    [JsonStringEnumMemberName("platform")] Platform,

    /// <summary>The reference's behaviour.</summary>
    [JsonStringEnumMemberName("reference")] Reference,
}

/// <summary>Optimizer and learning-rate schedule.</summary>
public sealed record OptimizerSpec
{
    /// <summary>Adam (weight decay as L2, as in the reference), AdamW or SGD.</summary>
    public OptimizerName Name { get; init; } = OptimizerName.Adam;

    /// <summary>Learning rate.</summary>
    [DecimalString(0, 1000)]
    public string LearningRate { get; init; } = "0.001";

    /// <summary>Weight decay.</summary>
    [DecimalString(0, 100)]
    public string WeightDecay { get; init; } = "0.00001";

    /// <summary>Schedule of the learning rate.</summary>
    public Schedule Schedule { get; init; } = Schedule.Step;

    /// <summary>Epochs at which the step schedule divides the rate by 10; five sixths and fourteen fifteenths of the epochs when absent.</summary>
    [Bounds(0, 16)]
    public IReadOnlyList<int>? Milestones { get; init; }

    /// <summary>Epochs of linear warm-up.</summary>
    [Bounds(0, 1000)]
    public int WarmupEpochs { get; init; }

    /// <summary>Largest norm of the gradient; 0 does not clip.</summary>
    [DecimalString(0, 1000000)]
    public string ClipGradientNorm { get; init; } = "0";
}

/// <summary>Optimizers.</summary>
public enum OptimizerName
{
    /// <summary>Adam with L2 weight decay.</summary>
    Adam,

    /// <summary>Adam with decoupled weight decay.</summary>
    AdamW,

    /// <summary>Stochastic gradient descent with momentum 0.9.</summary>
    [JsonStringEnumMemberName("SGD")] Sgd,
}

/// <summary>Learning-rate schedules.</summary>
public enum Schedule
{
    /// <summary>Divided by 10 at the milestones.</summary>
    [JsonStringEnumMemberName("step")] Step,

    /// <summary>Half a cosine down to zero.</summary>
    [JsonStringEnumMemberName("cosine")] Cosine,

    /// <summary>The same rate throughout.</summary>
    [JsonStringEnumMemberName("constant")] Constant,
}

/// <summary>How the two views teach each other (paper, section 3.3).</summary>
public sealed record CotrainSpec
{
    /// <summary>Cycles; in each, first RGB learns from flow's positives, then flow from RGB's.</summary>
    [Bounds(0, 20)]
    public int Cycles { get; init; } = 2;

    /// <summary>Epochs of each turn.</summary>
    [Bounds(1, 100000)]
    public int EpochsPerTurn { get; init; } = 100;

    /// <summary>Epochs of RGB's pre-training before the first turn; training.epochs when absent. 0 lets RGB learn from mined positives alone: where looks are random, InfoNCE teaches RGB to see nothing else.</summary>
    [Bounds(0, 100000)]
    public int? RgbPretrainEpochs { get; init; }

    /// <summary>Epochs of flow's pre-training before the first turn; training.epochs when absent.</summary>
    [Bounds(0, 100000)]
    public int? FlowPretrainEpochs { get; init; }

    /// <summary>Positives mined for each clip by the other view: keys, or videos with mineAmong: videos.</summary>
    [Bounds(0, 1024)]
    public int TopK { get; init; } = 5;

    /// <summary>
    /// Among what neighbours are looked for: queue (the keys of the queue, clip by clip in every step, as the paper does) or videos (all training videos, described as wholes by the
    /// frozen miner once a turn; a clip's positives are then the queue's entries of its video's neighbours).
    /// </summary>
    public MiningScope MineAmong { get; init; } = MiningScope.Queue;

    /// <summary>Who describes the videos: miner (the other view, as the paper does), or both (the sum of both views' cosines, each as it was when the turn began).</summary>
    public MiningViews MineWith { get; init; } = MiningViews.Miner;

    /// <summary>Whitens the videos' descriptions to so many dimensions; 0 leaves them centred.</summary>
    [Bounds(0, 4096)]
    public int Whiten { get; init; }

    /// <summary>Only videos that have each other among their neighbours are positives.</summary>
    public bool Mutual { get; init; }

    /// <summary>Length of the key queue in the turns; training.queueSize when absent.</summary>
    [Bounds(2, 1048576)]
    public int? QueueSize { get; init; }

    /// <summary>Where the other view's neighbours are looked for: in its projection, as the paper does, or among its centred backbone features, as retrieval does.</summary>
    public MiningSpace MineIn { get; init; } = MiningSpace.Projection;

    /// <summary>alternating (one view learns at a time) or simultaneous (both at once).</summary>
    public CotrainOrder Order { get; init; } = CotrainOrder.Alternating;

    /// <summary>Probability with which a clip's own key is left out of its positives in a step.</summary>
    [DecimalString(0, 1)]
    public string SelfMasking { get; init; } = "0.9";

    /// <summary>Optimizer and schedule of the turns; what is absent is taken from training.optimizer.</summary>
    public TurnOptimizerSpec? Optimizer { get; init; }
}

/// <summary>Optimizer and learning-rate schedule of the turns: each field is that of training.optimizer when absent.</summary>
public sealed record TurnOptimizerSpec
{
    /// <summary>Adam (weight decay as L2, as in the reference), AdamW or SGD.</summary>
    public OptimizerName? Name { get; init; }

    /// <summary>Learning rate.</summary>
    [DecimalString(0, 1000)]
    public string? LearningRate { get; init; }

    /// <summary>Weight decay.</summary>
    [DecimalString(0, 100)]
    public string? WeightDecay { get; init; }

    /// <summary>Schedule of the learning rate.</summary>
    public Schedule? Schedule { get; init; }

    /// <summary>Epochs of a turn at which the step schedule divides the rate by 10.</summary>
    [Bounds(0, 16)]
    public IReadOnlyList<int>? Milestones { get; init; }

    /// <summary>Epochs of linear warm-up at the start of a turn.</summary>
    [Bounds(0, 1000)]
    public int? WarmupEpochs { get; init; }

    /// <summary>Largest norm of the gradient; 0 does not clip.</summary>
    [DecimalString(0, 1000000)]
    public string? ClipGradientNorm { get; init; }

    /// <summary>These fields, and those of another optimizer where they are absent.</summary>
    /// <param name="training">The optimizer of pre-training.</param>
    public OptimizerSpec Over(OptimizerSpec training) => new()
    {
        Name = Name ?? training.Name,
        LearningRate = LearningRate ?? training.LearningRate,
        WeightDecay = WeightDecay ?? training.WeightDecay,
        Schedule = Schedule ?? training.Schedule,
        Milestones = Milestones ?? training.Milestones,
        WarmupEpochs = WarmupEpochs ?? training.WarmupEpochs,
        ClipGradientNorm = ClipGradientNorm ?? training.ClipGradientNorm,
    };
}

/// <summary>Among what neighbours are looked for.</summary>
public enum MiningScope
{
    /// <summary>The keys of the queue.</summary>
    [JsonStringEnumMemberName("queue")] Queue,

    /// <summary>All training videos.</summary>
    [JsonStringEnumMemberName("videos")] Videos,
}

/// <summary>Whose descriptions of videos are compared.</summary>
public enum MiningViews
{
    /// <summary>The other view's.</summary>
    [JsonStringEnumMemberName("miner")] Miner,

    /// <summary>Both views'.</summary>
    [JsonStringEnumMemberName("both")] Both,
}

/// <summary>Where neighbours are looked for.</summary>
public enum MiningSpace
{
    /// <summary>The embeddings that the contrastive loss compares.</summary>
    [JsonStringEnumMemberName("projection")] Projection,

    /// <summary>The features that evaluation takes.</summary>
    [JsonStringEnumMemberName("features")] Features,
}

/// <summary>Order of co-training.</summary>
public enum CotrainOrder
{
    /// <summary>One view learns at a time.</summary>
    [JsonStringEnumMemberName("alternating")] Alternating,

    /// <summary>Both views learn at once.</summary>
    [JsonStringEnumMemberName("simultaneous")] Simultaneous,
}

/// <summary>How clips are changed at random while training (method.md 1d).</summary>
public sealed record AugmentationSpec
{
    /// <summary>Smallest area of the random crop as a fraction of the frame.</summary>
    [DecimalString(0.01, 1)]
    public string MinCropArea { get; init; } = "0.2";

    /// <summary>A mirrored flow clip has its horizontal motion negated.</summary>
    public bool NegateFlippedFlow { get; init; } = true;

    /// <summary>Probability of mirroring a clip; 0 where left and right matter.</summary>
    [DecimalString(0, 1)]
    public string FlipProbability { get; init; } = "0.5";

    /// <summary>The channel that gray keeps is drawn for every frame (flicker) instead of once a clip.</summary>
    public bool GrayPerFrame { get; init; }

    /// <summary>Colour jitter, gray and blur of the base transform; false leaves crop and mirror only.</summary>
    public bool Color { get; init; } = true;

    /// <summary>Colour jitter, gray and blur for flow too, as the published code does: they move the value that means "no motion".</summary>
    public bool FlowColor { get; init; }

    /// <summary>Half-width m of the range [1 - m, 1 + m] from which the magnitude of a flow clip is scaled while training; 0 leaves it.</summary>
    [DecimalString(0, 0.9)]
    public string FlowMagnitude { get; init; } = "0";
}

/// <summary>How the learned representation is measured (method.md 1e).</summary>
public sealed record EvaluationSpec
{
    /// <summary>Linear classifier on the frozen representation.</summary>
    public ProbeSpec LinearProbe { get; init; } = new();

    /// <summary>Fine-tuning of the whole network.</summary>
    public FinetuneSpec Finetune { get; init; } = new();

    /// <summary>Nearest-neighbour retrieval.</summary>
    public RetrievalSpec Retrieval { get; init; } = new();

    /// <summary>How well the representation does while it is learned, on training videos alone.</summary>
    public MonitorSpec Monitor { get; init; } = new();

    /// <summary>Crops of a test clip that are averaged.</summary>
    public Crops Crops { get; init; } = Crops.Center;

    /// <summary>Also measures the untrained network, as a floor for every number.</summary>
    public bool RandomBaseline { get; init; } = true;
}

/// <summary>
/// What is measured while a network learns: nearest neighbours of some training videos among those of other source groups, and how the embeddings spread. It
/// looks at no test video, so settings can be chosen by it.
/// </summary>
public sealed record MonitorSpec
{
    /// <summary>Whether it is measured.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Epochs between measurements; a tenth of the stage's epochs when absent.</summary>
    [Bounds(1, 100000)]
    public int? EveryEpochs { get; init; }

    /// <summary>Share of the training videos, in whole source groups, that are the queries; the others are the gallery.</summary>
    [DecimalString(0.01, 0.9)]
    public string Fraction { get; init; } = "0.2";

    /// <summary>Keeps the videos that ask out of training, so that they are as new to the network as test videos: for finding settings, not for results.</summary>
    public bool HoldOut { get; init; }

    /// <summary>Training videos that are looked at, at most; two clips of each.</summary>
    [Bounds(16, 100000)]
    public int Videos { get; init; } = 500;
}

/// <summary>Test-time crops.</summary>
public enum Crops
{
    /// <summary>The centre.</summary>
    [JsonStringEnumMemberName("center")] Center,

    /// <summary>Centre and corners.</summary>
    [JsonStringEnumMemberName("five")] Five,

    /// <summary>Centre and corners, mirrored too.</summary>
    [JsonStringEnumMemberName("ten")] Ten,
}

/// <summary>The linear probe.</summary>
public sealed record ProbeSpec
{
    /// <summary>Whether the probe is run.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>features trains on stored features; endToEnd trains through the frozen backbone with augmentation.</summary>
    public ProbeMode Mode { get; init; } = ProbeMode.Features;

    /// <summary>Epochs.</summary>
    [Bounds(1, 10000)]
    public int Epochs { get; init; } = 100;

    /// <summary>Examples per step.</summary>
    [Bounds(1, 65536)]
    public int BatchSize { get; init; } = 1024;

    /// <summary>Learning rate.</summary>
    [DecimalString(0, 1000)]
    public string LearningRate { get; init; } = "1.0";

    /// <summary>Weight decay.</summary>
    [DecimalString(0, 100)]
    public string WeightDecay { get; init; } = "0.001";

    /// <summary>How the epoch is chosen: last, holdout (a part of the training set) or test (the reference's way, marked in every table).</summary>
    public Selection Selection { get; init; } = Selection.Last;
}

/// <summary>What the linear probe trains on.</summary>
public enum ProbeMode
{
    /// <summary>Stored features.</summary>
    [JsonStringEnumMemberName("features")] Features,

    /// <summary>Clips, through the frozen backbone.</summary>
    [JsonStringEnumMemberName("endToEnd")] EndToEnd,
}

/// <summary>How the epoch of a classifier is chosen.</summary>
public enum Selection
{
    /// <summary>The last epoch.</summary>
    [JsonStringEnumMemberName("last")] Last,

    /// <summary>The best on a held-out part of the training set.</summary>
    [JsonStringEnumMemberName("holdout")] Holdout,

    /// <summary>The best on the test set: the reference's way, flattering.</summary>
    [JsonStringEnumMemberName("test")] Test,
}

/// <summary>Fine-tuning of the whole network.</summary>
public sealed record FinetuneSpec
{
    /// <summary>Whether fine-tuning is run.</summary>
    public bool Enabled { get; init; }

    /// <summary>Epochs.</summary>
    [Bounds(1, 10000)]
    public int Epochs { get; init; } = 500;

    /// <summary>Clips per step.</summary>
    [Bounds(1, 4096)]
    public int BatchSize { get; init; } = 32;

    /// <summary>Learning rate of the classifier; the backbone learns at a tenth of it.</summary>
    [DecimalString(0, 1000)]
    public string LearningRate { get; init; } = "0.001";

    /// <summary>Weight decay.</summary>
    [DecimalString(0, 100)]
    public string WeightDecay { get; init; } = "0.001";

    /// <summary>Dropout before the classifier.</summary>
    [DecimalString(0, 0.99)]
    public string Dropout { get; init; } = "0.9";
}

/// <summary>Nearest-neighbour retrieval.</summary>
public sealed record RetrievalSpec
{
    /// <summary>Whether retrieval is run.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>allClips averages all clips of a gallery video; oneClip takes one at random, as the reference does.</summary>
    public Gallery Gallery { get; init; } = Gallery.AllClips;

    /// <summary>Neighbours kept for each query, for looking.</summary>
    [Bounds(1, 50)]
    public int Neighbours { get; init; } = 10;

    /// <summary>Small playing previews of the clips concerned.</summary>
    public bool Previews { get; init; } = true;
}

/// <summary>What stands for a gallery video.</summary>
public enum Gallery
{
    /// <summary>The mean over all its clips.</summary>
    [JsonStringEnumMemberName("allClips")] AllClips,

    /// <summary>One random clip.</summary>
    [JsonStringEnumMemberName("oneClip")] OneClip,
}

/// <summary>What a training pod asks for.</summary>
[CelRule("!self.gpuResourceName.startsWith('requests.')", ExperimentRules.ResourcePrefix, ".gpuResourceName")]
public sealed record ResourcesSpec
{
    /// <summary>
    /// GPUs of a training stage: each computes some of the shards of every batch, so that their number must divide training.shards. Probe and retrieval extract features on all of
    /// them; every other stage takes one, or none with 0.
    /// </summary>
    [Bounds(0, 16)]
    public int Gpus { get; init; } = 1;

    /// <summary>Name of the GPU resource.</summary>
    [Bounds(1, 128), Pattern(KubernetesNames.ExtendedResource, "an extended resource such as nvidia.com/gpu")]
    public string GpuResourceName { get; init; } = "nvidia.com/gpu";

    /// <summary>CPU as a Kubernetes quantity.</summary>
    [Bounds(1, 32), Pattern(KubernetesNames.Cpu, "a quantity above 0 such as 4 or 500m")]
    public string Cpu { get; init; } = "4";

    /// <summary>Memory as a Kubernetes quantity.</summary>
    [Bounds(1, 32), Pattern(KubernetesNames.Bytes, "a quantity above 0 such as 16Gi")]
    public string Memory { get; init; } = "16Gi";

    /// <summary>Shared memory (/dev/shm) as a Kubernetes quantity.</summary>
    [Bounds(1, 32), Pattern(KubernetesNames.Bytes, "a quantity above 0 such as 1Gi")]
    public string SharedMemory { get; init; } = "1Gi";

    /// <summary>Scratch space (/tmp, logs) as a Kubernetes quantity; no limit when absent.</summary>
    [Bounds(1, 32), Pattern(KubernetesNames.Bytes, "a quantity above 0 such as 10Gi")]
    public string? EphemeralStorage { get; init; }
}

/// <summary>Where training pods may run.</summary>
[CelRule("!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')", ExperimentRules.SystemPriority, ".priorityClassName")]
public sealed record SchedulingSpec
{
    /// <summary>Labels a node must have.</summary>
    [Bounds(0, 16), LabelMap]
    public IReadOnlyDictionary<string, string>? NodeSelector { get; init; }

    /// <summary>Taints that are tolerated.</summary>
    [Bounds(0, 16)]
    public IReadOnlyList<TolerationSpec>? Tolerations { get; init; }

    /// <summary>Node labels of which one value must match, each a required node-affinity term.</summary>
    [Bounds(0, 16)]
    public IReadOnlyList<NodeAffinityTerm>? Affinity { get; init; }

    /// <summary>How training pods of the namespace are spread over nodes or zones.</summary>
    [Bounds(0, 4), ListKey("topologyKey")]
    public IReadOnlyList<TopologySpreadTerm>? TopologySpread { get; init; }

    /// <summary>Priority class; not one of the system's own.</summary>
    [MutableField, Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? PriorityClassName { get; init; }

    /// <summary>Runtime class, such as nvidia.</summary>
    [Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? RuntimeClassName { get; init; }

    /// <summary>Scheduler of the pods.</summary>
    [Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? SchedulerName { get; init; }
}

/// <summary>A tolerated taint.</summary>
[CelRule("!has(self.key) || self.key.matches('" + KubernetesNames.ShortPrefix + "')", ExperimentRules.LongPrefix, ".key")]
[CelRule("has(self.key) || self.operator == 'Exists'", ExperimentRules.TolerationWithoutKey, ".operator")]
[CelRule("self.operator != 'Exists' || !has(self.value) || self.value == ''", ExperimentRules.TolerationValue, ".value")]
[CelRule("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')", ExperimentRules.TolerationSeconds, ".tolerationSeconds")]
public sealed record TolerationSpec
{
    /// <summary>Key of the taint; all taints when absent.</summary>
    [Bounds(1, KubernetesNames.LongestLabelKey), Pattern(KubernetesNames.LabelKey, KubernetesNames.LabelKeyMeaning)]
    public string? Key { get; init; }

    /// <summary>Equal or Exists.</summary>
    public TolerationOperator Operator { get; init; } = TolerationOperator.Equal;

    /// <summary>Value of the taint.</summary>
    [Bounds(0, KubernetesNames.LongestLabelValue), Pattern(KubernetesNames.LabelValue, KubernetesNames.LabelValueMeaning)]
    public string? Value { get; init; }

    /// <summary>Effect of the taint; all effects when absent.</summary>
    public TaintEffect? Effect { get; init; }

    /// <summary>Seconds a NoExecute taint is tolerated.</summary>
    [Bounds(0, 31536000)]
    public int? TolerationSeconds { get; init; }
}

/// <summary>How a toleration matches.</summary>
public enum TolerationOperator
{
    /// <summary>Key and value are equal.</summary>
    Equal,

    /// <summary>The key exists.</summary>
    Exists,
}

/// <summary>Effects of a taint.</summary>
public enum TaintEffect
{
    /// <summary>Not scheduled.</summary>
    NoSchedule,

    /// <summary>Scheduled elsewhere where possible.</summary>
    PreferNoSchedule,

    /// <summary>Evicted.</summary>
    NoExecute,
}

/// <summary>A required node label.</summary>
[CelRule("self.key.matches('" + KubernetesNames.ShortPrefix + "')", ExperimentRules.LongPrefix, ".key")]
public sealed record NodeAffinityTerm
{
    /// <summary>Label key.</summary>
    [RequiredField, Bounds(1, KubernetesNames.LongestLabelKey), Pattern(KubernetesNames.LabelKey, KubernetesNames.LabelKeyMeaning)]
    public string Key { get; init; } = "";

    /// <summary>Allowed values.</summary>
    [RequiredField, Bounds(1, 32), ItemLength(KubernetesNames.LongestLabelValue), Pattern(KubernetesNames.LabelValue, KubernetesNames.LabelValueMeaning)]
    public IReadOnlyList<string> Values { get; init; } = [];
}

/// <summary>How training pods are spread.</summary>
public sealed record TopologySpreadTerm
{
    /// <summary>Node label whose values are the places, such as topology.kubernetes.io/zone.</summary>
    [RequiredField, Bounds(1, KubernetesNames.LongestLabelKey), Pattern(KubernetesNames.LabelKey, KubernetesNames.LabelKeyMeaning)]
    public string TopologyKey { get; init; } = "";

    /// <summary>Largest difference of the numbers of pods between two places.</summary>
    [Bounds(1, 100)]
    public int MaxSkew { get; init; } = 1;

    /// <summary>What happens to a pod that no place can take without a larger difference.</summary>
    public UnsatisfiableAction WhenUnsatisfiable { get; init; } = UnsatisfiableAction.ScheduleAnyway;
}

/// <summary>What happens to a pod that would spread pods worse than asked.</summary>
public enum UnsatisfiableAction
{
    /// <summary>It runs where it spreads pods best.</summary>
    ScheduleAnyway,

    /// <summary>It waits.</summary>
    DoNotSchedule,
}

/// <summary>Where the run folder lives.</summary>
public sealed record StorageSpec
{
    /// <summary>An existing claim of the same namespace; one is made for the experiment when absent.</summary>
    [Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? ClaimName { get; init; }

    /// <summary>Size of the claim that is made.</summary>
    [Bounds(1, 32), Pattern(KubernetesNames.Bytes, "a quantity above 0 such as 50Gi")]
    public string Size { get; init; } = "50Gi";

    /// <summary>Storage class of the claim that is made; the cluster's default when absent.</summary>
    [Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string? ClassName { get; init; }

    /// <summary>Access mode; with ReadWriteMany stages on different nodes run side by side.</summary>
    public AccessMode AccessMode { get; init; } = AccessMode.ReadWriteOnce;

    /// <summary>What happens to the claim that was made when the experiment is deleted.</summary>
    public Retention Retention { get; init; } = Retention.Delete;
}

/// <summary>Access modes of a claim.</summary>
public enum AccessMode
{
    /// <summary>One node.</summary>
    ReadWriteOnce,

    /// <summary>Many nodes.</summary>
    ReadWriteMany,
}

/// <summary>What happens to a claim.</summary>
public enum Retention
{
    /// <summary>Kept.</summary>
    [JsonStringEnumMemberName("retain")] Retain,

    /// <summary>Deleted with the experiment.</summary>
    [JsonStringEnumMemberName("delete")] Delete,
}

/// <summary>An environment variable of the training container.</summary>
[CelRule("(has(self.value) ? 1 : 0) + (has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) == 1", ExperimentRules.OneValue)]
[CelRule("!self.name.startsWith('COCLR_') && !self.name.startsWith('LD_') && !self.name.startsWith('KUBERNETES_')", ExperimentRules.ReservedName, ".name")]
public sealed record EnvironmentVariableSpec
{
    /// <summary>Name; names that begin with COCLR_, LD_ or KUBERNETES_ are reserved.</summary>
    [RequiredField, Bounds(1, 128), Pattern(@"^[A-Za-z_][A-Za-z0-9_]*$", "an environment variable name")]
    public string Name { get; init; } = "";

    /// <summary>Literal value.</summary>
    [Bounds(0, 4096)]
    public string? Value { get; init; }

    /// <summary>Key of a Secret of the same namespace.</summary>
    public KeyReference? SecretKeyRef { get; init; }

    /// <summary>Key of a ConfigMap of the same namespace.</summary>
    public KeyReference? ConfigMapKeyRef { get; init; }
}

/// <summary>A key of a Secret or ConfigMap of the same namespace.</summary>
public sealed record KeyReference
{
    /// <summary>Name of the object.</summary>
    [RequiredField, Bounds(1, 253), Pattern(KubernetesNames.Subdomain, KubernetesNames.SubdomainMeaning)]
    public string Name { get; init; } = "";

    /// <summary>Key inside it.</summary>
    [RequiredField, Bounds(1, 253), Pattern(KubernetesNames.ConfigKey, "a key: letters, digits, '-', '_' or '.', not '.' alone and not beginning with '..'")]
    public string Key { get; init; } = "";
}

/// <summary>What happens when the node of a stage is lost: its machine is off, or the network does not reach it.</summary>
public sealed record NodeLostSpec
{
    /// <summary>wait leaves the pod to a person, who deletes the Node or taints it as out of service; replace gives the pod up and starts a new one elsewhere.</summary>
    [MutableField]
    public NodeLostAction Action { get; init; } = NodeLostAction.Wait;

    /// <summary>Seconds after the loss until replace acts. A process that still runs on the lost node keeps its lock on the run folder; the new one waits for it.</summary>
    [MutableField, Bounds(0, 86400)]
    public int AfterSeconds { get; init; } = 300;
}

/// <summary>What happens when a node is lost.</summary>
public enum NodeLostAction
{
    /// <summary>A person says that the node is gone.</summary>
    [JsonStringEnumMemberName("wait")] Wait,

    /// <summary>A new pod takes over.</summary>
    [JsonStringEnumMemberName("replace")] Replace,
}

/// <summary>Seconds after which a finished experiment is deleted, by outcome.</summary>
public sealed record TtlSpec
{
    /// <summary>After success; kept when absent.</summary>
    [MutableField, Bounds(0, 31536000)]
    public int? Succeeded { get; init; }

    /// <summary>After failure; kept when absent.</summary>
    [MutableField, Bounds(0, 31536000)]
    public int? Failed { get; init; }
}
