// Why this exists: bad settings show in minutes, not after a night and an evaluation: nearest neighbours of training videos while a network
// learns, and whether it collapses. No test video is looked at, so that settings may be chosen by it.
using System.Diagnostics;
using System.Globalization;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Context;
using CoCLR.Engine.Features;
using CoCLR.Engine.Models;
using CoCLR.Engine.Video.Loading;
using CoCLR.Engine.Video.Store;
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Training;

/// <summary>Looks at an encoder in its training (method.md part 2).</summary>
internal sealed class TrainingMonitor : IDisposable
{
    private const int ClipsPerVideo = 2;
    private const int ClipsPerBatch = 32;

    // What is kept of each look for people: some queries, always the same, and what was nearest to each.
    private const int QueriesShown = 12;
    private const int NeighboursShown = 8;

    // All embeddings alike: pairs of different videos are as near as this mean of exp(-2 d²) says (a cosine above 0.99), where spread ones
    // have e^-4.
    private const double CollapsedUniformity = -0.04;

    // With the loss of a guess beside it: a mean cosine above 0.75.
    private const double NarrowUniformity = -1;
    private const double GuessShare = 0.99;
    private readonly StageContext _context;
    private readonly ClipStore _store;
    private readonly StoreClips _clips;
    private readonly int[] _gallery;
    private readonly int[] _queries;
    private readonly int _every;

    private TrainingMonitor(
        StageContext context, ClipStore store, IReadOnlyList<ClipItem> gallery, IReadOnlyList<ClipItem> queries, int every)
    {
        (_context, _store, _every) = (context, store, every);
        _clips = StoreClips.ForTesting(
            store,
            [.. gallery, .. queries],
            Augmentations.Of(context.Spec),
            Augmentations.Loading(context, ClipsPerBatch),
            mostClips: ClipsPerVideo);
        _gallery = [.. Enumerable.Range(0, gallery.Count)];
        _queries = [.. Enumerable.Range(gallery.Count, queries.Count)];
    }

    /// <summary>What was measured so far, in order.</summary>
    public List<MonitorPoint> Points { get; } = [];

    /// <summary>The monitor of a stage; null where it is off or there is nothing to compare.</summary>
    /// <param name="context">A training stage.</param>
    public static TrainingMonitor? Open(StageContext context)
    {
        MonitorSpec spec = context.Spec.Evaluation.Monitor;
        int epochs = context.Stage.Epochs ?? 0;
        if (!spec.Enabled || epochs == 0)
        {
            return null;
        }

        ClipStore store = context.OpenStore(context.View == View.Rgb ? "decode" : "flow");
        IReadOnlyList<ClipItem> items = TrainingData.Videos(context.Spec, [store]);
        (int[] kept, int[] held) = Split(context.Spec, items);
        if (held.Length == 0)
        {
            store.Dispose();
            return null;
        }

        int queries = (int)Math.Ceiling(spec.Videos * Decimals.Parse(spec.Fraction));
        return new TrainingMonitor(
            context, store, Some(items, kept, spec.Videos - queries), Some(items, held, queries), spec.EveryEpochs
                ?? Math.Max(1, (int)Math.Round(epochs / 10.0)));
    }

    /// <summary>
    /// The training videos that answer and those that ask, whole source groups. Which groups ask depends on the seed alone.
    /// </summary>
    /// <param name="spec">The spec.</param>
    /// <param name="items">All training videos.</param>
    public static (int[] Kept, int[] Held) Split(ExperimentSpec spec, IReadOnlyList<ClipItem> items)
    {
        string[] groups = [.. items.Select(i => i.Group.ToString(CultureInfo.InvariantCulture))];
        return groups.Distinct().Count() < 2
            ? ([.. Enumerable.Range(0, items.Count)], [])
            : Holdout.Split(
                [.. Enumerable.Range(0, items.Count).Select(i => i.ToString(CultureInfo.InvariantCulture))],
                groups,
                Decimals.Parse(spec.Evaluation.Monitor.Fraction),
                spec.Seed);
    }

    /// <summary>Whether an epoch's end is a time to look.</summary>
    /// <param name="epoch">Epochs completed.</param>
    public bool IsDue(int epoch) => epoch % _every == 0 || epoch == _context.Stage.Epochs;

    /// <summary>Measures, tells it and keeps it. The encoder is left as it was.</summary>
    /// <param name="encoder">The query encoder of the stage's view.</param>
    /// <param name="epoch">Epochs completed.</param>
    /// <param name="step">Steps completed.</param>
    /// <param name="loss">Mean loss of the last epoch.</param>
    public void Look(VideoEncoder encoder, int epoch, long step, double loss)
    {
        var clock = Stopwatch.StartNew();
        (MonitorPoint point, NeighbourTable nearest) = Measure(encoder, epoch);
        Keep(nearest, epoch);
        point = point with
        {
            Collapsed = point.Uniformity > CollapsedUniformity || (Guesses(loss) && point.Uniformity > NarrowUniformity),
            Seconds = clock.Elapsed.TotalSeconds
        };
        Points.Add(point);
        var values = new Dictionary<string, double>
        {
            [MetricNames.MonitorEffectiveRank] = point.EffectiveRank,
            [MetricNames.MonitorAlignment] = point.Alignment,
            [MetricNames.MonitorUniformity] = point.Uniformity,
            [MetricNames.MonitorCollapsed] = point.Collapsed ? 1 : 0,
            [MetricNames.MonitorSeconds] = point.Seconds,
        };
        if (point.Knn is { } knn && point.RecallAt1 is { } recall)
        {
            (values[MetricNames.MonitorKnn], values[MetricNames.MonitorRecallAt1]) = (knn, recall);
        }

        _context.Events.Metrics(step, epoch, values);
        if (point.Collapsed)
        {
            _context.Events.Log(
                $"epoch {epoch}: the representation has collapsed: the embeddings of different videos are all alike. A lower learning "
                    + $"rate, a faster key encoder (training.momentum) or a higher temperature usually helps.", "warning");
        }
    }

    /// <summary>The state for a checkpoint.</summary>
    public IEnumerable<KeyValuePair<string, double>> State() => Points.SelectMany(p => new KeyValuePair<string, double>[]
    {
        new($"monitor:{p.Epoch}:knn", p.Knn ?? double.NaN),
        new($"monitor:{p.Epoch}:r1", p.RecallAt1 ?? double.NaN),
        new($"monitor:{p.Epoch}:rank", p.EffectiveRank),
        new($"monitor:{p.Epoch}:alignment", p.Alignment),
        new($"monitor:{p.Epoch}:uniformity", p.Uniformity),
        new($"monitor:{p.Epoch}:collapsed", p.Collapsed ? 1 : 0),
        new($"monitor:{p.Epoch}:seconds", p.Seconds),
    });

    /// <summary>Takes over <see cref="State"/>.</summary>
    /// <param name="state">The scalars of a checkpoint.</param>
    public void Load(IReadOnlyDictionary<string, double> state)
    {
        Points.Clear();
        foreach (int epoch in state.Keys.Where(k => k.StartsWith("monitor:", StringComparison.Ordinal)).Select(k => int.Parse(k.Split(':')[1], CultureInfo.InvariantCulture)).Distinct().Order())
        {
            double Value(string name) => state[$"monitor:{epoch}:{name}"];
            double? Known(string name) => double.IsFinite(Value(name)) ? Value(name) : null;
            Points.Add(new MonitorPoint
            {
                Epoch = epoch,
                Knn = Known("knn"),
                RecallAt1 = Known("r1"),
                EffectiveRank = Value("rank"),
                Alignment = Value("alignment"),
                Uniformity = Value("uniformity"),
                Collapsed = Value("collapsed") != 0,
                Seconds = Value("seconds"),
            });
        }
    }

    public void Dispose()
    {
        _clips.Dispose();
        _store.Dispose();
    }

    /// <summary>Whether the loss is that of a guess among the own key and the queue; mined positives have another.</summary>
    private bool Guesses(double loss) =>
        _context.Spec.Training.Method is Method.InfoNCE or Method.UberNCE
            && loss >= GuessShare * Math.Log(1.0 + _context.Spec.Training.QueueSize);

    /// <summary>Every nth of some rows, so that all groups are there.</summary>
    private static ClipItem[] Some(IReadOnlyList<ClipItem> items, int[] rows, int most) =>
        [
            .. Enumerable.Range(0, Math.Min(most, rows.Length))
                .Select(i => items[rows[(int)((long)i * rows.Length / Math.Min(most, rows.Length))]])];

    /// <summary>Keeps what was nearest to some queries, so that people see how it changed.</summary>
    private void Keep(NeighbourTable nearest, int epoch)
    {
        int shown = Math.Min(QueriesShown, nearest.Queries.Length);
        NeighbourTable some = nearest with
        {
            Queries = [.. Enumerable.Range(0, shown).Select(i => nearest.Queries[(int)((long)i * nearest.Queries.Length / shown)])],
        };
        string file = WatchedNeighbours.Write(_context.Folder.Stage(_context.Stage.Name), epoch, some);
        _context.Events.Artifact(_context.Folder, file, "application/json");
    }

    private (MonitorPoint Point, NeighbourTable Nearest) Measure(VideoEncoder encoder, int epoch)
    {
        using DisposeScope scope = NewDisposeScope();
        using var frozen = no_grad();
        int width = encoder.Backbone.FeatureSize;
        FeatureSet rows = Rows(encoder, out Tensor embeddings, out int[] videos);
        FeatureSet features = new(rows.Ids, rows.Values, rows.Labels, rows.ClassNames);
        (FeatureSet gallery, FeatureSet queries) = (features.Select(_gallery), features.Select(_queries));
        KnnAccuracy? knn = KnnProbe.Evaluate(gallery, queries).Where(k => k.Vote == "weighted").MinBy(k => Math.Abs(k.K - 20));
        RetrievalOutcome found = Retrieval.Evaluate(gallery, queries, _context.View.Name(), neighbours: NeighboursShown);
        Recall? recall = features.Labels is null ? null : found.Result.Recalls.FirstOrDefault(r => r.K == 1);
        return (new MonitorPoint
        {
            Epoch = epoch,
            Knn = knn?.Top1,
            RecallAt1 = recall?.Value,
            EffectiveRank = Spread.EffectiveRank(tensor(features.Values, [features.Count, width])),
            Alignment = Spread.Alignment(embeddings, videos),
            Uniformity = Spread.Uniformity(embeddings, videos),
        }, found.Neighbours);
    }

    /// <summary>One feature a video, as evaluation takes it, and the embedding of every clip with its video.</summary>
    private FeatureSet Rows(VideoEncoder encoder, out Tensor embeddings, out int[] videos)
    {
        var parts = new List<Tensor>();
        var owners = new List<int>();
        bool training = encoder.training;
        encoder.eval();
        try
        {
            FeatureSet set = FeatureExtractor.Mean(
                new Owners(_clips, owners),
                batch =>
                {
                    Tensor features = encoder.Backbone.Features(batch);
                    parts.Add(nn.functional.normalize(encoder.Head.forward(features), 2, 1).cpu().MoveToOuterDisposeScope());
                    return nn.functional.normalize(features, 2, 1);
                },
                null,
                _context.Stop);
            embeddings = cat(parts, 0);
            videos = [.. owners];
            return set;
        }
        finally
        {
            encoder.train(training);
        }
    }

    /// <summary>Notes which video each clip of a pass is of.</summary>
    private sealed class Owners(StoreClips clips, List<int> owners) : IClipBatches
    {
        public IReadOnlyList<string> Ids => clips.Ids;

        public IReadOnlyList<int>? Labels => clips.Labels;

        public IReadOnlyList<string> ClassNames => clips.ClassNames;

        public IReadOnlyList<string>? Groups => clips.Groups;

        public int ClipsInPass => clips.ClipsInPass;

        public IEnumerable<VideoClips> Pass(int epoch, CancellationToken cancellationToken = default) =>
            clips.Pass(epoch, cancellationToken).Select(b =>
        {
            owners.AddRange(b.Videos);
            return b;
        });
    }
}
