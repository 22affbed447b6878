// Why this exists: flow of a data set is made once, with all cores or a GPU, and kept beside the frames it was made from.
using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Engine.Video.Store;
using TorchSharp;

namespace CoCLR.Engine.Flow;

/// <summary>How far a flow store is.</summary>
/// <param name="Done">Videos that are finished, with those of earlier attempts and those left out.</param>
/// <param name="Total">Videos of the source.</param>
/// <param name="Pairs">Frame pairs computed by this process: one flow image each.</param>
/// <param name="RemainingPairs">Frame pairs still to be computed.</param>
/// <param name="Elapsed">Time since this process began.</param>
/// <param name="Remaining">Estimated time to the end, by pixels.</param>
public sealed record FlowProgress(int Done, int Total, long Pairs, long RemainingPairs, TimeSpan Elapsed, TimeSpan Remaining)
{
    /// <summary>Frame pairs a second so far.</summary>
    public double PairsPerSecond => Pairs / Math.Max(Elapsed.TotalSeconds, 1e-9);
}

/// <summary>
/// Makes the 2-channel flow store of an RGB store: for each video one quantised image (u, v) less than it has frames, at the store's resolution
/// (method.md 1f). Ids, labels, splits and groups are those of the source.
/// </summary>
public static class FlowStoreBuilder
{
    // A GPU wants many pairs at once; the temporaries of this many pixels of pairs take about 1 GB.
    private const long PixelsPerBatch = 4L << 20;
    private const int Version = 1;

    /// <summary>
    /// The flow store of a source under these options; computed when it is not there yet. As with decoding, flow is kept by video in a pool below
    /// the cache folder, so that other labels, other splits, or a few more videos cost only what is new. Stopped at any point, the next call goes on.
    /// </summary>
    /// <param name="source">The RGB store.</param>
    /// <param name="options">How flow is made; the result does not depend on <paramref name="threads"/>.</param>
    /// <param name="cacheFolder">Folder for all stores; made when missing.</param>
    /// <param name="device">Where: a GPU is given whole batches, on the CPU each thread takes parts of videos. CPU when null.</param>
    /// <param name="threads">Most threads on the CPU; 0: as many as the process may use processors.</param>
    /// <param name="progress">Told after every part of a video, on the thread that made it.</param>
    /// <param name="cancellationToken">Stops; what is finished stays.</param>
    /// <returns>The opened store; its header lists the videos that were left out (those with one frame).</returns>
    /// <exception cref="UserErrorException">
    /// 78: an option is out of range, or no permission for the cache; 65: the source does not hold RGB frames; 1: the disk is full, or another process
    /// is computing there.
    /// </exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static ClipStore Prepare(
        ClipStore source,
        FlowOptions options,
        string cacheFolder,
        torch.Device? device = null,
        int threads = 0,
        IProgress<FlowProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        options.Validate();
        var batch = device is null || device.type == DeviceType.CPU ? null : new TvL1FlowTorch(device, options.Effective);
        return PrepareWith(source, options, cacheFolder, batch, threads, progress, cancellationToken);
    }

    internal static ClipStore PrepareWith(
        ClipStore source,
        FlowOptions options,
        string cacheFolder,
        TvL1FlowTorch? batch,
        int threads,
        IProgress<FlowProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (source.Channels != 3)
        {
            throw new UserErrorException($"{source.Folder} holds flow, not RGB frames: flow is made from a store of RGB frames.", ExitCodes.BadData);
        }

        var settings = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["flow.algorithm"] = options.Algorithm.ToString(),
            ["flow.bound"] = options.Bound.ToString(CultureInfo.InvariantCulture),
            ["flow.tvl1"] = JsonSerializer.Serialize(options.Effective),
        };

        // The name tells the sources of one cache apart: videos of two data sets may share their ids.
        var frames = Path.GetFileName(Path.GetFullPath(Path.Combine(source.Folder, source.Header.DataFolder)));
        var poolKey = Key([$"flow {Version}", frames, .. settings.Select(pair => $"{pair.Key}={pair.Value}")]);
        var pool = Path.Combine(Path.GetFullPath(cacheFolder), $"flow-{options.Algorithm.ToString().ToLowerInvariant()}-{poolKey[..12]}");
        var key = Key([poolKey, .. source.Videos.Select(video => $"{video.Id}\0{video.Checksum}\0{video.Label}\0{video.Class}\0{video.Split}\0{video.Group}")]);
        var folder = Path.Combine(pool, key[..16]);
        if (!ClipStore.Exists(folder, key))
        {
            var header = new ClipStoreHeader { Channels = 2, ContentKey = poolKey, Settings = settings };
            // Runs that share the cache wait for the one that is at it, and find its work done.
            using var writer = ClipStoreWriter.OpenWhenFree(pool, header, cancellationToken);
            if (!ClipStore.Exists(folder, key))
            {
                new Run(source, writer, options, batch, progress).Execute(
                    batch is not null ? 1 : threads > 0 ? threads : Environment.ProcessorCount, cancellationToken);
                var rejected = writer.Rejected.ToDictionary(video => video.Id, StringComparer.Ordinal);
                writer.CompleteView(
                    folder,
                    header with { ContentKey = key, Rejected = [.. source.Videos.Where(video => video.Frames < 2).Select(video => rejected[video.Id])] },
                    source.Videos.Where(video => video.Frames >= 2));
            }
        }

        return ClipStore.Open(folder);
    }

    private static string Key(IEnumerable<string> parts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))));

    private sealed class Run(
        ClipStore source, ClipStoreWriter writer, FlowOptions options, TvL1FlowTorch? batch, IProgress<FlowProgress>? progress)
    {
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly Lock _gate = new();
        private readonly List<OpenVideo> _open = [];
        private long _remainingPairs = source.Videos.Sum(Pairs);
        private long _remainingWork = source.Videos.Sum(video => Pairs(video) * video.Pixels);
        private long _pairs;
        private long _work;
        private int _done;

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

        private static long Pairs(ClipStoreVideo video) => Math.Max(video.Frames - 1L, 0);

        private IEnumerable<Part> Parts()
        {
            for (var i = 0; i < source.Count; i++)
            {
                var video = source.Videos[i];
                if (video.Frames < 2 || writer.Contains(video.Id, video.Checksum))
                {
                    Skip(video);
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

        private void Skip(ClipStoreVideo video)
        {
            if (video.Frames < 2 && !writer.Contains(video.Id, video.Checksum))
            {
                writer.Reject(video.Id, "it has one frame, and optical flow needs two", video.Checksum);
            }

            lock (_gate)
            {
                _done++;
                _remainingPairs -= Pairs(video);
                _remainingWork -= Pairs(video) * video.Pixels;
            }
        }

        private void Finish(Part part, ArraySegment<byte> flow)
        {
            var complete = part.Video.Append(writer, part, flow);
            FlowProgress now;
            lock (_gate)
            {
                var work = (long)part.Count * part.Video.Source.Pixels;
                _pairs += part.Count;
                _remainingPairs -= part.Count;
                _work += work;
                _remainingWork -= work;
                if (complete)
                {
                    _done++;
                    _open.Remove(part.Video);
                }

                var elapsed = _clock.Elapsed;
                now = new FlowProgress(_done, source.Count, _pairs, _remainingPairs, elapsed, elapsed * ((double)_remainingWork / _work));
            }

            progress?.Report(now);
        }
    }

    private sealed record Part(int Index, OpenVideo Video, int Start, int Count);

    /// <summary>A video some of whose parts are done; they are written in order whatever order they come in.</summary>
    private sealed class OpenVideo(ClipStoreVideo source) : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<int, (ArraySegment<byte> Flow, int Pairs)> _waiting = [];
        private ClipStoreWriter.VideoWriter? _writer;
        private int _written;

        public ClipStoreVideo Source { get; } = source;

        public bool Append(ClipStoreWriter writer, Part part, ArraySegment<byte> flow)
        {
            lock (_gate)
            {
                _waiting.Add(part.Start, (flow, part.Count));
                while (_waiting.Remove(_written, out var next))
                {
                    _writer ??= writer.Begin();
                    _writer.Write(next.Flow);
                    ArrayPool<byte>.Shared.Return(next.Flow.Array!);
                    _written += next.Pairs;
                }

                if (_written < Source.Frames - 1)
                {
                    return false;
                }

                _writer!.Commit(Source with { Frames = _written, Fingerprint = Source.Checksum });
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

        // In a rented array, which goes back when it is written.
        public ArraySegment<byte> Estimate(ClipStore source, Part part, CancellationToken cancellationToken)
        {
            var video = part.Video.Source;
            var length = checked(2 * part.Count * video.Pixels);
            var result = new ArraySegment<byte>(ArrayPool<byte>.Shared.Rent(length), 0, length);
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

        private void OneByOne(ClipStore source, Part part, Span<byte> result, CancellationToken cancellationToken)
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
                    _quantizer.Encode(_flow.AsSpan(0, pixels), _flow.AsSpan(pixels), result.Slice(2 * (i - 1) * pixels, 2 * pixels));
                }
            }
        }

        private void InOneBatch(TvL1FlowTorch estimator, ClipStore source, Part part, Span<byte> result)
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
