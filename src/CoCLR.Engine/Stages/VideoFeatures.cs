// Why this exists: probe, retrieval and fusion measure the same features; they are extracted once for a checkpoint and kept in the run
// folder.
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Context;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using CoCLR.Engine.Training;
using CoCLR.Engine.Video.Augmentation;
using CoCLR.Engine.Video.Catalogue;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;

namespace CoCLR.Engine.Stages;

/// <summary>Features of the training and test videos of a run: <c>RUN/features/CHECKPOINT/{train,test}.npy</c>.</summary>
internal sealed class VideoFeatures : IDisposable
{
    private const string Train = "train";
    private const string Test = "test";
    private const int ClipsPerBatch = 32;

    // With a momentum of 0.1 nothing is left of the initial statistics after so many passes.
    private const int SettlingPasses = 50;
    private readonly StageContext _context;
    private readonly ClipStore _store;

    public VideoFeatures(StageContext context)
    {
        _context = context;
        _store = context.OpenStore(context.View == View.Rgb ? "decode" : "flow");
    }

    /// <summary>The videos of the stage's view.</summary>
    public ClipStore Store => _store;

    private bool IsFirst => _context.Ranks.Rank == 0;

    /// <summary>Features under a checkpoint, from the run folder when they are there.</summary>
    /// <param name="checkpoint">A training stage; null for the untrained network.</param>
    /// <param name="gallery">What stands for a training video.</param>
    /// <returns>Null on ranks other than 0, which only help to extract.</returns>
    public FeaturePair? Of(string? checkpoint, Gallery gallery = Gallery.AllClips)
    {
        // Rank 0 decides: another machine may see its files later.
        FeaturePair? stored = IsFirst ? Stored(_context, _context.View, checkpoint, gallery) : null;
        if (_context.Ranks.Any(stored is not null))
        {
            return stored;
        }

        using Backbone backbone = LoadBackbone(_context, checkpoint);
        if (checkpoint == null)
        {
            SettleNorms(backbone);
        }

        string folder = Folder(_context, _context.View, checkpoint);
        FeatureSet? Extract(VideoSplit split, string name, bool oneClip)
        {
            if (_context.Ranks.Any(IsFirst && Exists(folder, name)))
            {
                return IsFirst ? FeatureFiles.ReadNpy(folder, name) : null;
            }

            using StoreClips clips = Clips(split, oneClip, _context.Ranks);
            FeatureSet features = FeatureExtractor.Extract(
                backbone,
                clips,
                ImmediateProgress.To<PassProgress>(
                    p => _context.Events.Progress(
                        $"extract {(checkpoint == null ? "random features, " : "")}{name}", p.Done, p.Total, "clips")),
                _context.Stop);
            if (!IsFirst)
            {
                return null;
            }

            FeatureFiles.WriteNpy(features, folder, name);
            return features;
        }

        FeatureSet? train = Extract(VideoSplit.Train, TrainName(gallery), gallery == Gallery.OneClip);
        FeatureSet? test = Extract(VideoSplit.Test, Test, oneClip: false);
        return train is null || test is null ? null : new FeaturePair(train, test);
    }

    /// <summary>Features that an earlier stage has left; null when it has not.</summary>
    public static FeaturePair? Stored(StageContext context, View view, string? checkpoint, Gallery gallery)
    {
        string folder = Folder(context, view, checkpoint);
        return Exists(folder, TrainName(gallery)) && Exists(folder, Test)
            ? new FeaturePair(FeatureFiles.ReadNpy(folder, TrainName(gallery)), FeatureFiles.ReadNpy(folder, Test))
            : null;
    }

    /// <summary>Sliding clips (and crops) of a split's videos.</summary>
    public StoreClips Clips(VideoSplit split, bool oneClip = false, ICollective? ranks = null) =>
        Clips(ClipItem.FromStores([_store], split), oneClip, ranks);

    /// <summary>Sliding clips (and crops) of some videos.</summary>
    public StoreClips Clips(IReadOnlyList<ClipItem> items, bool oneClip = false, ICollective? ranks = null) => StoreClips.ForTesting(
        _store,
        items,
        Augmentations.Of(_context.Spec),
        Augmentations.Loading(_context, ClipsPerBatch),
        _context.Spec.Evaluation.Crops switch { Crops.Five => CropMode.Five, Crops.Ten => CropMode.Ten, _ => CropMode.Center },
        oneClip,
        ranks: ranks);

    /// <summary>The labelled training videos.</summary>
    public IReadOnlyList<ClipItem> Labelled() => [.. ClipItem.FromStores([_store], VideoSplit.Train).Where(i => i.Label >= 0)];

    /// <summary>One random, augmented clip of each video an epoch.</summary>
    public StoreClips TrainingClips(IReadOnlyList<ClipItem> items, int batchSize) => StoreClips.ForTraining(
        _store,
        items,
        Augmentations.Of(_context.Spec),
        Augmentations.Loading(_context, batchSize));

    /// <summary>The network of a training stage, or an untrained one with the weights that training begins from.</summary>
    public static Backbone LoadBackbone(StageContext context, string? checkpoint)
    {
        VideoEncoder encoder = EncoderFactory.Create(context.Spec, context.View, context.Device);
        if (checkpoint != null)
        {
            using TorchSharp.DisposeScope scope = TorchSharp.torch.NewDisposeScope();
            string folder = context.Folder.Stage(checkpoint);
            using Checkpoint file = CheckpointStore.Load(folder);
            file.CopyTo(encoder, EncoderFactory.PrefixIn(context.Plan[checkpoint], context.View), folder);
        }

        return encoder.Backbone;
    }

    /// <summary>
    /// An untrained network's batch norms know nothing of its activations, which then vanish layer by layer: a floor must be the network's,
    /// not that of its unset statistics. Forward passes over training clips set them, as training would; no weight changes.
    /// </summary>
    private void SettleNorms(Backbone backbone)
    {
        using var frozen = TorchSharp.torch.no_grad();
        ClipItem[] items = [.. ClipItem.FromStores([_store], VideoSplit.Train)];
        using StoreClips clips = StoreClips.ForTraining(
            _store, items, Augmentations.Of(_context.Spec), Augmentations.Loading(_context, Math.Min(ClipsPerBatch, items.Length)));
        backbone.train();
        for (int epoch = 1, passes = 0; passes < SettlingPasses; epoch++)
        {
            foreach (VideoClips batch in clips.Pass(epoch, _context.Stop))
            {
                using (batch)
                {
                    using TorchSharp.DisposeScope scope = TorchSharp.torch.NewDisposeScope();
                    backbone.Features(batch.Clips);
                    passes++;
                }
            }
        }

        backbone.eval();
    }

    public void Dispose() => _store.Dispose();

    private static bool Exists(string folder, string name) =>
        File.Exists(Path.Combine(folder, name + ".npy")) && File.Exists(Path.Combine(folder, name + ".json"));

    private static string TrainName(Gallery gallery) => gallery == Gallery.OneClip ? Train + "-one-clip" : Train;

    private static string Folder(StageContext context, View view, string? checkpoint) =>
        context.Folder.Features(checkpoint ?? $"random-{view.Name()}");
}
