// Why this exists: flow of a data set is made once, with all cores or a GPU, and kept beside the frames it was made from.
using System.Diagnostics;
using System.Globalization;
using System.IO.Hashing;
using System.Runtime.ExceptionServices;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Engine.Video;
using TorchSharp;

namespace CoCLR.Engine.Flow;

/// <summary>How far a flow store is.</summary>
/// <param name="Videos">Videos that are done, those of earlier runs included.</param>
/// <param name="TotalVideos">Videos of the source.</param>
/// <param name="Pairs">Frame pairs that are done, those of earlier runs included.</param>
/// <param name="TotalPairs">Frame pairs of the source.</param>
/// <param name="PairsPerSecond">Rate of this run so far.</param>
/// <param name="Remaining">Time left at the rate so far, by pixels; null before the first part is done.</param>
public sealed record FlowProgress(int Videos, int TotalVideos, long Pairs, long TotalPairs, double PairsPerSecond, TimeSpan? Remaining);

/// <summary>What <see cref="FlowStoreBuilder.Build"/> did.</summary>
/// <param name="Videos">Videos in the store.</param>
/// <param name="Rejected">Videos that were left out, and why.</param>
/// <param name="Pairs">Frame pairs that this run computed: 0 when a finished store was there.</param>
/// <param name="Elapsed">How long it took.</param>
public sealed record FlowBuildResult(int Videos, IReadOnlyList<RejectedVideo> Rejected, long Pairs, TimeSpan Elapsed);

/// <summary>
/// Makes the 2-channel flow store of an RGB store: for each video one quantised image (u, v) less than it has frames, at the store's resolution
/// (method.md 1f). Ids, labels, splits and groups are those of the source at the time. Goes on where an earlier, interrupted run stopped.
/// </summary>
public static class FlowStoreBuilder
{
    // A GPU wants many pairs at once; this many pixels of pairs use about 4 GB in temporaries.
    private const long PixelsPerBatch = 4L << 20;
    private const int Version = 1;

    /// <summary>Key of the flow store that a source and options lead to; equal keys mean equal flow.</summary>
    /// <param name="source">The RGB store.</param>
    /// <param name="options">How flow is made.</param>
    public static string ContentKey(ClipStore source, FlowOptions options)
    {
        var hash = new XxHash128();
        void Add(string text) => hash.Append(Encoding.UTF8.GetBytes(text + "\n"));
        Add(string.Create(CultureInfo.InvariantCulture, $"flow {Version} bound {options.Bound} {JsonSerializer.Serialize(options.Effective)}"));
        foreach (var video in source.Videos.OrderBy(video => video.Id, StringComparer.Ordinal))
        {
            Add(string.Create(CultureInfo.InvariantCulture, $"{video.Id} {video.Frames} {video.Height} {video.Width} {video.Checksum}"));
        }

        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }

    /// <summary>Makes the store, or what is missing of it. Returns at once when a finished one with the same key is there.</summary>
    /// <param name="source">The RGB store.</param>
    /// <param name="folder">The flow store's folder; other content is replaced.</param>
    /// <param name="options">How flow is made; the result does not depend on <paramref name="threads"/>.</param>
    /// <param name="device">Where: a GPU is given whole batches, on the CPU each thread takes parts of videos. CPU when null.</param>
    /// <param name="threads">Most threads on the CPU; all cores when 0.</param>
    /// <param name="progress">Called after every part, on the thread that made it.</param>
    /// <param name="cancellationToken">Stops; what is finished is kept for the next run.</param>
    /// <exception cref="UserErrorException">Options out of range (78), another process is writing there or the disk is full (1), the source is not RGB (65).</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static FlowBuildResult Build(
        ClipStore source,
        string folder,
        FlowOptions options,
        torch.Device? device = null,
        int threads = 0,
        Action<FlowProgress>? progress = null,
        CancellationToken cancellationToken = default) =>
        BuildWith(source, folder, options, device is null || device.type == DeviceType.CPU ? null : new TvL1FlowTorch(device, options.Effective), threads, progress, cancellationToken);

    internal static FlowBuildResult BuildWith(
        ClipStore source,
        string folder,
        FlowOptions options,
        TvL1FlowTorch? batch,
        int threads,
        Action<FlowProgress>? progress,
        CancellationToken cancellationToken)
    {
        options.Validate();
        if (source.Channels != 3)
        {
            throw new UserErrorException($"{source.Folder} holds flow, not RGB frames: flow is made from a store of RGB frames.", ExitCodes.BadData);
        }

        var clock = Stopwatch.StartNew();
        var key = ContentKey(source, options);
        if (ClipStore.Exists(folder, key))
        {
            using var finished = ClipStore.Open(folder);
            return new FlowBuildResult(finished.Count, finished.Header.Rejected, 0, clock.Elapsed);
        }

        var header = new ClipStoreHeader
        {
            Channels = 2,
            ContentKey = key,
            Settings = new SortedDictionary<string, string>(StringComparer.Ordinal)
            {
                ["flow.algorithm"] = options.Algorithm.ToString(),
                ["flow.bound"] = options.Bound.ToString(CultureInfo.InvariantCulture),
                ["flow.tvl1"] = JsonSerializer.Serialize(options.Effective),
                ["source"] = source.Header.ContentKey,
            },
        };
        using var writer = ClipStoreWriter.OpenOrCreate(folder, header);
        var run = new Run(source, writer, options, batch, progress, clock);
        run.Execute(batch is not null ? 1 : threads > 0 ? threads : Environment.ProcessorCount, cancellationToken);
        writer.Complete(source.Videos.Select(video => video.Id));
        return new FlowBuildResult(writer.Videos.Count, [.. writer.Rejected], run.ComputedPairs, clock.Elapsed);
    }

    private sealed class Run(
        ClipStore source, ClipStoreWriter writer, FlowOptions options, TvL1FlowTorch? batch, Action<FlowProgress>? progress, Stopwatch clock)
    {
        private readonly Lock _gate = new();
        private readonly List<OpenVideo> _open = [];
        private readonly long _totalPairs = source.Videos.Sum(video => Math.Max(video.Frames - 1L, 0));
        private readonly long _totalWork = source.Videos.Sum(Work);
        private int _doneVideos;
        private long _donePairs;
        private long _doneWork;
        private long _computedWork;

        public long ComputedPairs { get; private set; }

        public void Execute(int threads, CancellationToken cancellationToken)
        {
            try
            {
                using var parts = Parts().GetEnumerator();
                IEnumerable<Part> Shared()
                {
                    // Parts are handed out in order, so that few videos are open at a time.
                    while (true)
                    {
                        Part next;
                        lock (parts)
                        {
                            if (!parts.MoveNext())
                            {
                                yield break;
                            }

                            next = parts.Current;
                        }

                        yield return next;
                    }
                }

                var parallel = new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellationToken };
                Parallel.For(0, threads, parallel, (_, loop) =>
                {
                    using var worker = new Worker(options, batch);
                    foreach (var part in Shared())
                    {
                        if (loop.ShouldExitCurrentIteration)
                        {
                            return;
                        }

                        cancellationToken.ThrowIfCancellationRequested();
                        Finish(part, worker.Estimate(source, part, cancellationToken));
                    }
                });
            }
            catch (AggregateException error)
            {
                var first = error.Flatten().InnerExceptions.FirstOrDefault(inner => inner is not OperationCanceledException);
                cancellationToken.ThrowIfCancellationRequested();
                ExceptionDispatchInfo.Throw(first ?? error);
            }
            finally
            {
                _open.ForEach(video => video.Dispose());
            }
        }

        private static long Work(ClipStoreVideo video) => Math.Max(video.Frames - 1L, 0) * video.Pixels;

        private IEnumerable<Part> Parts()
        {
            var done = writer.Videos.Select(video => video.Id).ToHashSet(StringComparer.Ordinal);
            for (var i = 0; i < source.Count; i++)
            {
                var video = source.Videos[i];
                if (writer.Contains(video.Id))
                {
                    Count(video, done.Contains(video.Id));
                    continue;
                }

                if (video.Frames < 2)
                {
                    writer.Reject(video.Id, "has one frame: optical flow needs two");
                    Count(video, computed: false);
                    continue;
                }

                var open = new OpenVideo(video);
                lock (_gate)
                {
                    _open.Add(open);
                }

                var size = batch is not null
                    ? (int)Math.Clamp(PixelsPerBatch / video.Pixels, 1, video.Frames - 1)
                    : FlowSequence.PartSize(video.Frames - 1, options);
                for (var start = 0; start < video.Frames - 1; start += size)
                {
                    yield return new Part(i, open, start, Math.Min(size, video.Frames - 1 - start));
                }
            }
        }

        private void Count(ClipStoreVideo video, bool computed)
        {
            lock (_gate)
            {
                _doneVideos++;
                _donePairs += computed ? video.Frames - 1 : 0;
                _doneWork += Work(video);
            }
        }

        private void Finish(Part part, byte[] flow)
        {
            var complete = part.Video.Append(writer, part, flow);
            FlowProgress now;
            lock (_gate)
            {
                ComputedPairs += part.Count;
                _donePairs += part.Count;
                _doneWork += (long)part.Count * part.Video.Source.Pixels;
                _computedWork += (long)part.Count * part.Video.Source.Pixels;
                if (complete)
                {
                    _doneVideos++;
                    _open.Remove(part.Video);
                }

                var seconds = Math.Max(clock.Elapsed.TotalSeconds, 1e-9);
                now = new FlowProgress(
                    _doneVideos,
                    source.Count,
                    _donePairs,
                    _totalPairs,
                    ComputedPairs / seconds,
                    TimeSpan.FromSeconds(seconds * (_totalWork - _doneWork) / _computedWork));
            }

            progress?.Invoke(now);
        }
    }

    private sealed record Part(int Index, OpenVideo Video, int Start, int Count);

    /// <summary>A video some of whose parts are done; they are written in order whatever order they come in.</summary>
    private sealed class OpenVideo(ClipStoreVideo source) : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<int, (byte[] Flow, int Pairs)> _waiting = [];
        private ClipStoreWriter.VideoWriter? _writer;
        private int _written;

        public ClipStoreVideo Source { get; } = source;

        public bool Append(ClipStoreWriter writer, Part part, byte[] flow)
        {
            lock (_gate)
            {
                _waiting.Add(part.Start, (flow, part.Count));
                while (_waiting.Remove(_written, out var next))
                {
                    _writer ??= writer.Begin();
                    _writer.Write(next.Flow);
                    _written += next.Pairs;
                }

                if (_written < Source.Frames - 1)
                {
                    return false;
                }

                _writer!.Commit(Source with { Frames = _written });
                Dispose();
                return true;
            }
        }

        public void Dispose() => _writer?.Dispose();
    }

    /// <summary>One thread's memory.</summary>
    private sealed class Worker(FlowOptions options, TvL1FlowTorch? batch) : IDisposable
    {
        private readonly FlowQuantizer _quantizer = new(options.Bound);
        private IFlowEstimator? _estimator;
        private byte[] _gray = [];
        private float[] _flow = [];

        public byte[] Estimate(ClipStore source, Part part, CancellationToken cancellationToken)
        {
            var video = part.Video.Source;
            var result = new byte[2L * part.Count * video.Pixels];
            if (batch is null)
            {
                OneByOne(source, part, result, cancellationToken);
            }
            else
            {
                InOneBatch(batch, source, part, result);
            }

            return result;
        }

        public void Dispose() => _estimator?.Dispose();

        private void OneByOne(ClipStore source, Part part, byte[] result, CancellationToken cancellationToken)
        {
            var video = part.Video.Source;
            var pixels = video.Pixels;
            if (_estimator is null || (_estimator.Width, _estimator.Height) != (video.Width, video.Height))
            {
                _estimator?.Dispose();
                _estimator = options.CreateEstimator(video.Width, video.Height);
                _gray = new byte[pixels];
                _flow = new float[2 * pixels];
            }

            _estimator.Reset();
            for (var i = 0; i <= part.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                GrayImage.FromRgb(source.Frame(part.Index, part.Start + i), _gray);
                if (_estimator.Push(_gray, _flow.AsSpan(0, pixels), _flow.AsSpan(pixels)))
                {
                    _quantizer.Encode(_flow.AsSpan(0, pixels), _flow.AsSpan(pixels), result.AsSpan(2 * (i - 1) * pixels, 2 * pixels));
                }
            }
        }

        private void InOneBatch(TvL1FlowTorch estimator, ClipStore source, Part part, byte[] result)
        {
            var video = part.Video.Source;
            var pixels = video.Pixels;
            _gray = new byte[(part.Count + 1) * pixels];
            for (var i = 0; i <= part.Count; i++)
            {
                GrayImage.FromRgb(source.Frame(part.Index, part.Start + i), _gray.AsSpan(i * pixels, pixels));
            }

            using var scope = torch.NewDisposeScope();
            var frames = torch.tensor(_gray, [part.Count + 1, video.Height, video.Width]);
            var bound = (float)options.Bound;
            var flow = estimator.EstimateSequence(frames).clamp_(-bound, bound);

            // round() is half to even, as in FlowQuantizer.
            flow.add_(bound).mul_(255f).div_(2 * bound).round_();
            flow.permute(0, 2, 3, 1).to(torch.ScalarType.Byte).contiguous().cpu().data<byte>().CopyTo(result);
        }
    }
}
