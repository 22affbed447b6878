// Why this exists: flow of a data set is made once, with all cores or a GPU, and kept beside the frames it was made from.
using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text;
using CoCLR.Core.Results;
using CoCLR.Core;
using CoCLR.Engine.Video.Store;
using CoCLR.Runs;
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
/// Makes the 2-channel flow store of an RGB store: for each video one quantised image (u, v) less than it has frames, at the store's
/// resolution. Flow is computed on frames of the videos' own size (<see cref="FlowOptions.Size"/>) and stored in pixels of a 240-line frame
/// (method.md 1f). Ids, labels, splits and groups are those of the source.
/// </summary>
public static class FlowStoreBuilder
{
    // A GPU wants many pairs at once; the temporaries of this many pixels of pairs take about 1 GB.
    private const long PixelsPerBatch = 4L << 20;

    // 1: computed on the stored frames, in their pixels.
    private const int Version = 2;
    private const string SurveyName = "survey.json";

    /// <summary>
    /// The flow store of a source under these options; computed when it is not there yet. As with decoding, flow is kept by video in a pool
    /// below the cache folder, so that other labels, other splits, or a few more videos cost only what is new. Stopped at any point, the
    /// next call goes on.
    /// </summary>
    /// <param name="source">The RGB store.</param>
    /// <param name="options">How flow is made; the result does not depend on <paramref name="threads"/>.</param>
    /// <param name="cacheFolder">Folder for all stores; made when missing.</param>
    /// <param name="device">Where: a GPU is given whole batches, on the CPU each thread takes parts of videos. CPU when null.</param>
    /// <param name="threads">Most threads on the CPU; 0: as many as the process may use processors.</param>
    /// <param name="progress">Told after every part of a video, on the thread that made it.</param>
    /// <param name="files">The video files by id, read again at their own size; null: flow is computed on the stored frames.</param>
    /// <param name="tell">Told in a sentence what a person should know, such as that an older store is no longer used.</param>
    /// <param name="cancellationToken">Stops; what is finished stays.</param>
    /// <returns>The opened store; its header lists the videos that were left out (those with one frame).</returns>
    /// <exception cref="UserErrorException">
    /// 78: an option is out of range, or no permission for the cache; 65: the source does not hold RGB frames; 66: a video file is gone; 1:
    /// the disk is full, or another process is computing there.
    /// </exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static ClipStore Prepare(
        ClipStore source,
        FlowOptions options,
        string cacheFolder,
        torch.Device? device = null,
        int threads = 0,
        IProgress<FlowProgress>? progress = null,
        IReadOnlyDictionary<string, string>? files = null,
        Action<string>? tell = null,
        CancellationToken cancellationToken = default)
    {
        options.Validate();
        var batch = device is null || device.type == DeviceType.CPU ? null : new TvL1FlowTorch(device, options.Effective);
        return PrepareWith(source, options, cacheFolder, batch, threads, progress, files, tell, cancellationToken);
    }

    internal static ClipStore PrepareWith(
        ClipStore source,
        FlowOptions options,
        string cacheFolder,
        TvL1FlowTorch? batch,
        int threads,
        IProgress<FlowProgress>? progress,
        IReadOnlyDictionary<string, string>? files = null,
        Action<string>? tell = null,
        CancellationToken cancellationToken = default)
    {
        if (source.Channels != 3)
        {
            throw new UserErrorException(
                $"{source.Folder} holds flow, not RGB frames: flow is made from a store of RGB frames.", ExitCodes.BadData);
        }

        var settings = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["flow.algorithm"] = options.Algorithm.ToString(),
            ["flow.bound"] = options.Bound?.ToString(CultureInfo.InvariantCulture) ?? "auto",
            ["flow.center"] = options.Center ? "true" : "false",
            ["flow.size"] = (files is null ? 0 : options.Size).ToString(CultureInfo.InvariantCulture),
            ["flow.tvl1"] = JsonSerializer.Serialize(options.Effective),
            [ClipStoreHeader.FlowUnit] =
                options.Size == 0 ? "a pixel of the stored frame" : $"a pixel of a frame of {FlowOptions.UnitLines} lines",
        };

        // The name tells the sources of one cache apart: videos of two data sets may share their ids.
        var frames = Path.GetFileName(Path.GetFullPath(Path.Combine(source.Folder, source.Header.DataFolder)));
        var poolKey = Key([$"flow {Version}", frames, .. settings.Select(pair => $"{pair.Key}={pair.Value}")]);
        var pool = Path.Combine(Path.GetFullPath(cacheFolder), $"flow-{options.Algorithm.ToString().ToLowerInvariant()}-{poolKey[..12]}");
        if (!Directory.Exists(pool))
        {
            TellOfOlderStores(cacheFolder, tell);
        }

        var key = Key(
            [
                poolKey,
                .. source.Videos.Select(
                    video => $"{video.Id}\0{video.Checksum}\0{video.Label}\0{video.Class}\0{video.Split}\0{video.Group}")
            ]);
        var folder = Path.Combine(pool, key[..16]);
        if (!ClipStore.Exists(folder, key))
        {
            var header = new ClipStoreHeader { Channels = 2, ContentKey = poolKey, Settings = settings };
            // Runs that share the cache wait for the one that is at it, and find its work done.
            using var writer = ClipStoreWriter.OpenWhenFree(pool, header, cancellationToken);
            if (!ClipStore.Exists(folder, key))
            {
                var input = new GrayFrames(source, options.Size, files);
                var survey = Survey(pool, source, options, input, cancellationToken);
                options = options with { Bound = survey.Bound };
                settings["flow.bound"] = survey.Bound.ToString(CultureInfo.InvariantCulture);
                new Run(source, writer, options, batch, input, progress).Execute(
                    batch is not null ? 1 : threads > 0 ? threads : Environment.ProcessorCount, cancellationToken);
                var rejected = writer.Rejected.ToDictionary(video => video.Id, StringComparer.Ordinal);
                writer.CompleteView(
                    folder,
                    header with
                    {
                        ContentKey = key,
                        Rejected = [.. source.Videos.Where(video => video.Frames < 2).Select(video => rejected[video.Id])]
                    },
                    source.Videos.Where(video => video.Frames >= 2));
            }
        }

        return ClipStore.Open(folder);
    }

    /// <summary>The distribution of displacements that a store's bound was chosen by; null for one that was not measured.</summary>
    /// <param name="store">A flow store.</param>
    public static MotionResult? Survey(ClipStore store) =>
        Path.Combine(store.Folder, store.Header.DataFolder, SurveyName) is var file && File.Exists(file)
            ? JsonSerializer.Deserialize<MotionResult>(File.ReadAllText(file), CoclrJson.Compact)
            : null;

    // Kept with the pool: videos that come later are stored in the same unit.
    private static MotionResult Survey(
        string pool, ClipStore source, FlowOptions options, GrayFrames input, CancellationToken cancellationToken)
    {
        var file = Path.Combine(pool, SurveyName);
        if (File.Exists(file))
        {
            return JsonSerializer.Deserialize<MotionResult>(File.ReadAllText(file), CoclrJson.Compact)!;
        }

        var survey = FlowSurvey.Measure(source, options, input, cancellationToken);
        WholeFile.WriteText(file, JsonSerializer.Serialize(survey, CoclrJson.Indented));
        return survey;
    }

    private static void TellOfOlderStores(string cacheFolder, Action<string>? tell)
    {
        foreach (var pool in Directory.Exists(cacheFolder) ? Directory.GetDirectories(cacheFolder, "flow-*") : [])
        {
            if (Directory.GetDirectories(pool).Select(ClipStore.TryReadHeader).OfType<ClipStoreHeader>().Any(header => !header.Settings.ContainsKey(ClipStoreHeader.FlowUnit)))
            {
                tell?.Invoke($"{pool} holds flow that an earlier version computed on the stored frames, in their pixels; flow is made "
                    + $"again, in pixels of a frame of {FlowOptions.UnitLines} lines. That folder may be removed.");
            }
        }
    }

    private static string Key(IEnumerable<string> parts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))));

    private sealed class Run(
        ClipStore source, ClipStoreWriter writer, FlowOptions options, TvL1FlowTorch? batch, GrayFrames input,
        IProgress<FlowProgress>? progress)
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
                        Finish(part, worker.Estimate(part, cancellationToken));
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

                using var frames = input.Open(i);
                var pixels = frames.Width * frames.Height;
                var size = batch is not null
                    ? (int)Math.Clamp(PixelsPerBatch / pixels, 1, video.Frames - 1)
                    : FlowSequence.PartSize(video.Frames - 1, options);
                var last = new byte[pixels];
                frames.Read(last);
                for (var start = 0; start < video.Frames - 1; start += size)
                {
                    // Neighbouring parts share the frame between them.
                    var count = Math.Min(size, video.Frames - 1 - start);
                    var gray = new byte[(count + 1) * pixels];
                    last.CopyTo(gray, 0);
                    for (var frame = 1; frame <= count; frame++)
                    {
                        frames.Read(gray.AsSpan(frame * pixels, pixels));
                    }

                    gray.AsSpan(count * pixels).CopyTo(last);
                    yield return new Part(open, start, count, gray, frames.Width, frames.Height);
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

    private sealed record Part(OpenVideo Video, int Start, int Count, byte[] Gray, int Width, int Height);

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
        private readonly FlowQuantizer _quantizer = new(options.Bound!.Value);
        private IFlowEstimator? _estimator;
        private FlowField? _field;
        private float[] _flow = [];
        private float[] _stored = [];

        // In a rented array, which goes back when it is written.
        public ArraySegment<byte> Estimate(Part part, CancellationToken cancellationToken)
        {
            var video = part.Video.Source;
            if (_field is null || !_field.Fits(part.Width, part.Height, video.Width, video.Height))
            {
                _field = new FlowField(options, part.Width, part.Height, video.Width, video.Height);
                _stored = new float[2 * video.Pixels];
            }

            var length = checked(2 * part.Count * video.Pixels);
            var result = new ArraySegment<byte>(ArrayPool<byte>.Shared.Rent(length), 0, length);
            if (batch is null)
            {
                OneByOne(part, result, cancellationToken);
            }
            else
            {
                InOneBatch(batch, part, result);
            }

            return result;
        }

        public void Dispose() => _estimator?.Dispose();

        private void OneByOne(Part part, Span<byte> result, CancellationToken cancellationToken)
        {
            var (pixels, stored) = (part.Width * part.Height, part.Video.Source.Pixels);
            if (_estimator is null || (_estimator.Width, _estimator.Height) != (part.Width, part.Height))
            {
                _estimator?.Dispose();
                _estimator = options.CreateEstimator(part.Width, part.Height);
                _flow = new float[2 * pixels];
            }

            _estimator.Reset();
            for (var i = 0; i <= part.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (_estimator.Push(part.Gray.AsSpan(i * pixels, pixels), _flow.AsSpan(0, pixels), _flow.AsSpan(pixels)))
                {
                    _field!.Store(_flow.AsSpan(0, pixels), _stored.AsSpan(0, stored));
                    _field.Store(_flow.AsSpan(pixels), _stored.AsSpan(stored));
                    _quantizer.Encode(_stored.AsSpan(0, stored), _stored.AsSpan(stored), result.Slice(2 * (i - 1) * stored, 2 * stored));
                }
            }
        }

        private void InOneBatch(TvL1FlowTorch estimator, Part part, Span<byte> result)
        {
            using var scope = torch.NewDisposeScope();
            var frames = torch.tensor(part.Gray, [part.Count + 1, part.Height, part.Width]);
            var bound = _quantizer.Bound;
            var flow = _field!.Store(estimator.EstimateSequence(frames)).clamp_(-bound, bound);

            // round() is half to even, as in FlowQuantizer.
            flow.add_(bound).mul_(255f).div_(2 * bound).round_();
            flow.permute(0, 2, 3, 1).to(torch.ScalarType.Byte).contiguous().cpu().data<byte>().CopyTo(result);
        }
    }
}
