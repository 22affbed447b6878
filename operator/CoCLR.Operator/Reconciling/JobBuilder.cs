// Why this exists: the objects an experiment owns. Only the fields of the spec's allow-list reach a pod, and every pod passes Pod Security
// "restricted".
using System.Text.Json;
using System.Text.Json.Nodes;
using CoCLR.Cluster;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Operator.Api;
using CoCLR.Operator.Progress;

namespace CoCLR.Operator.Reconciling;

/// <summary>Builds the children of an experiment.</summary>
public static class JobBuilder
{
    /// <summary>Where the run's claim is mounted.</summary>
    public const string StorageMount = "/coclr";

    /// <summary>Where a data set's claim is mounted.</summary>
    public const string DatasetMount = "/dataset";

    /// <summary>Where the plan is mounted.</summary>
    public const string PlanMount = "/etc/coclr";

    /// <summary>Where tokens are mounted.</summary>
    public const string TokenMount = "/var/run/secrets/coclr";

    /// <summary>What the Job that sends what the stages could not send has in the place of a stage.</summary>
    public const string DeliveryName = "deliver";

    private const string StageName = "coclr-stage";

    // Each attempt waits ten minutes for a dashboard; with Kubernetes' pauses between attempts that is about two hours.
    private const int DeliveryRetries = 6;
    private const int DeliveryDeadlineSeconds = 4 * 3600;

    private static readonly string[] ReservedPrefixes = ["COCLR_", "LD_", "KUBERNETES_", "DOTNET_STARTUP"];

    /// <summary>The ConfigMap with the plan: never changed, so that neither an upgrade nor an edit changes a run under way.</summary>
    /// <param name="experiment">Metadata of the experiment.</param>
    /// <param name="name">Name of the ConfigMap.</param>
    /// <param name="snapshot">The plan.</param>
    /// <param name="settings">Settings.</param>
    public static JsonObject PlanConfigMap(ObjectMeta experiment, string name, PlanSnapshot snapshot, ChildSettings settings)
    {
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "ConfigMap",
            ["metadata"] = Metadata(experiment, name, snapshot.Plan.Run, settings, stage: null, owned: true),
            ["immutable"] = true,
            ["data"] = new JsonObject
            {
                [PlanView.PlanKey] = JsonSerializer.Serialize(snapshot.Plan, CoclrJson.Indented),
                [PlanView.ImageKey] = snapshot.Image,
            },
        };
    }

    /// <summary>The claim of the run folder.</summary>
    /// <param name="experiment">Metadata of the experiment.</param>
    /// <param name="name">Name of the claim.</param>
    /// <param name="snapshot">The plan.</param>
    /// <param name="settings">Settings.</param>
    public static JsonObject Claim(ObjectMeta experiment, string name, PlanSnapshot snapshot, ChildSettings settings)
    {
        StorageSpec storage = snapshot.Plan.Spec.Storage;
        var spec = new JsonObject
        {
            ["accessModes"] = new JsonArray(storage.AccessMode.ToString()),
            ["resources"] = new JsonObject { ["requests"] = new JsonObject { ["storage"] = storage.Size } },
        };
        if (storage.ClassName != null)
        {
            spec["storageClassName"] = storage.ClassName;
        }

        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "PersistentVolumeClaim",
            ["metadata"] =
                Metadata(experiment, name, snapshot.Plan.Run, settings, stage: null, owned: storage.Retention == Retention.Delete),
            ["spec"] = spec,
        };
    }

    /// <summary>
    /// The Job of a stage. It never holds <c>suspend</c>: that field has other owners (Kueue), and the operator sets it in a write of its
    /// own.
    /// </summary>
    /// <param name="experiment">Metadata of the experiment.</param>
    /// <param name="name">Name of the Job.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="snapshot">The plan.</param>
    /// <param name="planName">Name of the ConfigMap.</param>
    /// <param name="claimName">Name of the claim of the run folder.</param>
    /// <param name="live">The live spec, whose resources and priority may have changed.</param>
    /// <param name="settings">Settings.</param>
    public static JsonObject Job(
        ObjectMeta experiment, string name, Stage stage, PlanSnapshot snapshot, string planName, string claimName, ExperimentSpec live,
        ChildSettings settings)
    {
        ExperimentSpec spec = snapshot.Plan.Spec with { Resources = live.Resources, Scheduling = live.Scheduling };
        JsonObject metadata = Metadata(experiment, name, snapshot.Plan.Run, settings, stage.Name, owned: true);
        (metadata["annotations"] ??= new JsonObject())[Labels.Resources] = ResourcesHash(spec, stage);
        if (spec.QueueName != null)
        {
            metadata["labels"]![Labels.Queue] = spec.QueueName;
        }

        return new JsonObject
        {
            ["apiVersion"] = "batch/v1",
            ["kind"] = "Job",
            ["metadata"] = metadata,
            ["spec"] = new JsonObject
            {
                ["completions"] = 1,
                ["parallelism"] = 1,
                ["backoffLimit"] = spec.Retries,
                ["podReplacementPolicy"] = "Failed",
                ["podFailurePolicy"] = new JsonObject
                {
                    ["rules"] = new JsonArray(
                        ExitCodeRule("FailJob", Enumerable.Range(ExitCodes.Usage, ExitCodes.BadConfiguration - ExitCodes.Usage + 1)),
                        ExitCodeRule("Ignore", [ExitCodes.Terminated]),
                        new JsonObject
                        {
                            ["action"] = "Ignore",
                            ["onPodConditions"] = new JsonArray(new JsonObject { ["type"] = "DisruptionTarget", ["status"] = "True" }),
                        }),
                },
                ["template"] = new JsonObject
                {
                    ["metadata"] = Describing(experiment, snapshot.Plan.Run, settings, stage.Name),
                    ["spec"] = PodSpec(experiment, stage, snapshot, spec, planName, claimName, settings),
                },
            },
        };
    }

    /// <summary>
    /// The Job that sends to the dashboard what the stages of an ended experiment could not send. No queue: it needs no device.
    /// </summary>
    /// <param name="experiment">Metadata of the experiment.</param>
    /// <param name="name">Name of the Job.</param>
    /// <param name="snapshot">The plan.</param>
    /// <param name="planName">Name of the ConfigMap.</param>
    /// <param name="claimName">Name of the claim of the run folder.</param>
    /// <param name="live">The live spec.</param>
    /// <param name="settings">Settings.</param>
    public static JsonObject Delivery(
        ObjectMeta experiment, string name, PlanSnapshot snapshot, string planName, string claimName, ExperimentSpec live,
        ChildSettings settings)
    {
        Stage stage = snapshot.Plan[Planner.ReportStage] with { Name = DeliveryName };
        JsonObject job = Job(experiment, name, stage, snapshot, planName, claimName, live, settings);
        job["metadata"]!["labels"]!.AsObject().Remove(Labels.Queue);
        JsonNode spec = job["spec"]!;
        spec["backoffLimit"] = DeliveryRetries;
        spec["activeDeadlineSeconds"] = DeliveryDeadlineSeconds;
        spec["template"]!["spec"]!["containers"]![0]!["args"] = new JsonArray(DeliveryName, "--plan", $"{PlanMount}/{PlanView.PlanKey}");
        return job;
    }

    private static JsonObject ExitCodeRule(string action, IEnumerable<int> codes) => new()
    {
        ["action"] = action,
        ["onExitCodes"] = new JsonObject
        {
            ["containerName"] = PodView.StageContainer,
            ["operator"] = "In",
            ["values"] = new JsonArray([.. codes.Select(c => (JsonNode)c)]),
        },
    };

    /// <summary>Short text that differs when a stage asks for other resources.</summary>
    /// <param name="spec">The spec.</param>
    /// <param name="stage">The stage.</param>
    public static string ResourcesHash(ExperimentSpec spec, Stage stage)
    {
        string asked = Resources(spec, stage).ToJsonString() + spec.Resources.SharedMemory;
        return Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(asked)))[..12];
    }

    private static JsonObject PodSpec(
        ObjectMeta experiment, Stage stage, PlanSnapshot snapshot, ExperimentSpec spec, string planName, string claimName,
        ChildSettings settings)
    {
        (JsonArray volumes, JsonArray mounts) = Volumes(spec, planName, claimName, Tokens(experiment, settings));
        JsonObject container = Container(stage, snapshot, spec, mounts, Environment(experiment, stage, snapshot, spec, settings), settings);
        var pod = new JsonObject
        {
            ["restartPolicy"] = "Never",
            ["automountServiceAccountToken"] = false,
            ["enableServiceLinks"] = false,
            ["terminationGracePeriodSeconds"] = settings.GracePeriodSeconds,
            ["securityContext"] = SecurityContext(settings),
            ["containers"] = new JsonArray(container),
            ["volumes"] = volumes,
        };
        string[] secrets = [.. settings.ImagePullSecrets.Concat(spec.ImagePullSecrets).Distinct()];
        if (secrets.Length > 0)
        {
            pod["imagePullSecrets"] = new JsonArray([.. secrets.Select(s => (JsonNode)new JsonObject { ["name"] = s })]);
        }

        if (spec.ServiceAccountName != null)
        {
            pod["serviceAccountName"] = spec.ServiceAccountName;
        }

        if (spec.Scheduling != null)
        {
            AddScheduling(pod, spec.Scheduling);
        }

        return pod;
    }

    private static (JsonArray Volumes, JsonArray Mounts) Volumes(ExperimentSpec spec, string planName, string claimName, JsonArray tokens)
    {
        JsonObject scratch = spec.Resources.EphemeralStorage is { } limit ? new JsonObject { ["sizeLimit"] = limit } : [];
        var shared = new JsonObject { ["medium"] = "Memory", ["sizeLimit"] = spec.Resources.SharedMemory };
        var volumes = new JsonArray(
            new JsonObject { ["name"] = "plan", ["configMap"] = new JsonObject { ["name"] = planName } },
            new JsonObject { ["name"] = "storage", ["persistentVolumeClaim"] = new JsonObject { ["claimName"] = claimName } },
            new JsonObject { ["name"] = "tmp", ["emptyDir"] = scratch },
            new JsonObject { ["name"] = "shm", ["emptyDir"] = shared });
        var mounts = new JsonArray(
            Mount("plan", PlanMount, readOnly: true),
            Mount("storage", StorageMount),
            Mount("tmp", "/tmp"),
            Mount("shm", "/dev/shm"));
        if (spec.Dataset.Source.VolumeClaim is { } dataset)
        {
            volumes.Add(
                new JsonObject { ["name"] = "dataset", ["persistentVolumeClaim"] = new JsonObject { ["claimName"] = dataset.Name } });
            JsonObject mount = Mount("dataset", DatasetMount, readOnly: true);
            if (dataset.Path.Length > 0)
            {
                mount["subPath"] = dataset.Path;
            }

            mounts.Add(mount);
        }

        if (tokens.Count > 0)
        {
            volumes.Add(new JsonObject { ["name"] = "tokens", ["projected"] = new JsonObject { ["sources"] = tokens } });
            mounts.Add(Mount("tokens", TokenMount, readOnly: true));
        }

        return (volumes, mounts);
    }

    private static JsonObject Container(
        Stage stage, PlanSnapshot snapshot, ExperimentSpec spec, JsonArray mounts, JsonArray environment, ChildSettings settings)
    {
        var container = new JsonObject
        {
            ["name"] = PodView.StageContainer,
            ["image"] = snapshot.Image,
            ["args"] = Arguments(spec, stage),
            ["env"] = environment,
            ["resources"] = Resources(spec, stage),
            ["volumeMounts"] = mounts,
            ["terminationMessagePath"] = "/dev/termination-log",
            ["terminationMessagePolicy"] = "FallbackToLogsOnError",
            ["securityContext"] = new JsonObject
            {
                ["allowPrivilegeEscalation"] = false,
                ["readOnlyRootFilesystem"] = true,
                ["capabilities"] = new JsonObject { ["drop"] = new JsonArray("ALL") },
            },
        };
        if (settings.ImagePullPolicy != null)
        {
            container["imagePullPolicy"] = settings.ImagePullPolicy;
        }

        return container;
    }

    private static JsonObject SecurityContext(ChildSettings settings)
    {
        var context = new JsonObject
        {
            ["runAsNonRoot"] = true,
            ["seccompProfile"] = new JsonObject { ["type"] = "RuntimeDefault" },
        };
        if (settings.RunAsUser > 0)
        {
            context["runAsUser"] = settings.RunAsUser;
            context["runAsGroup"] = settings.RunAsUser;
            context["fsGroup"] = settings.RunAsUser;
            context["fsGroupChangePolicy"] = "OnRootMismatch";
        }

        return context;
    }

    private static JsonArray Tokens(ObjectMeta experiment, ChildSettings settings)
    {
        var sources = new JsonArray();
        if (settings.ProgressUrl != null)
        {
            sources.Add(Token(TokenAudiences.Progress(experiment.Uid), "progress"));

            // The kubelet brings a new authority to a running pod; where the address needs none of its own there is no such ConfigMap.
            sources.Add(
                new JsonObject { ["configMap"] = new JsonObject { ["name"] = ProgressAuthority.ConfigMapName, ["optional"] = true } });
        }

        if (settings.DashboardIngestUrl != null)
        {
            sources.Add(Token(TokenAudiences.Dashboard, "dashboard"));
        }

        return sources;
    }

    private static JsonObject Token(string audience, string path) => new()
    {
        ["serviceAccountToken"] = new JsonObject { ["audience"] = audience, ["expirationSeconds"] = 3600, ["path"] = path },
    };

    private static JsonArray Environment(
        ObjectMeta experiment, Stage stage, PlanSnapshot snapshot, ExperimentSpec spec, ChildSettings settings)
    {
        var env = new JsonArray();
        void Add(string name, string value) => env.Add(new JsonObject { ["name"] = name, ["value"] = value });

        foreach (EnvironmentVariableSpec variable in spec.Env.Where(v => !ReservedPrefixes.Any(p => v.Name.StartsWith(p, StringComparison.Ordinal))))
        {
            env.Add(variable switch
            {
                { SecretKeyRef: { } secret } => Reference(variable.Name, "secretKeyRef", secret.Name, secret.Key),
                { ConfigMapKeyRef: { } map } => Reference(variable.Name, "configMapKeyRef", map.Name, map.Key),
                _ => new JsonObject { ["name"] = variable.Name, ["value"] = variable.Value ?? "" },
            });
        }

        if (spec.Dataset.Source.S3 is { } s3)
        {
            Add("AWS_REGION", s3.Region);
            if (s3.SecretName != null)
            {
                env.Add(Reference("AWS_ACCESS_KEY_ID", "secretKeyRef", s3.SecretName, "accessKeyId"));
                env.Add(Reference("AWS_SECRET_ACCESS_KEY", "secretKeyRef", s3.SecretName, "secretAccessKey"));
            }
        }

        if (spec.Dataset.Source.VolumeClaim != null)
        {
            Add("COCLR_DATASET_DIR", DatasetMount);
        }

        Add("COCLR_RUN_DIR", $"{StorageMount}/runs/{snapshot.Plan.Run}");
        Add("COCLR_CACHE_DIR", $"{StorageMount}/cache");
        Add("COCLR_TERMINATION_LOG", "/dev/termination-log");
        Add("COCLR_IMAGE", snapshot.Resolved ?? snapshot.Image);
        env.Add(FieldReference("COCLR_POD_NAME", "metadata.name"));
        env.Add(FieldReference("COCLR_POD_NAMESPACE", "metadata.namespace"));
        if (settings.ProgressUrl != null)
        {
            Add("COCLR_PROGRESS_URL", Progress.ProgressEndpoint.UrlOf(settings.ProgressUrl, experiment.Key));
            Add("COCLR_PROGRESS_TOKEN_FILE", $"{TokenMount}/progress");
            Add("COCLR_PROGRESS_CA_FILE", $"{TokenMount}/{ProgressAuthority.Key}");
        }

        if (settings.DashboardIngestUrl != null)
        {
            Add("COCLR_DASHBOARD_URL", settings.DashboardIngestUrl);
            Add("COCLR_DASHBOARD_TOKEN_FILE", $"{TokenMount}/dashboard");
        }

        Add("HOME", "/tmp");
        Add("TMPDIR", "/tmp");

        // The convention of NVIDIA's container toolkit; the device plugin adds which devices. "void" keeps GPUs out of stages that did not
        // ask for one.
        if (UsesGpu(spec, stage))
        {
            Add("NVIDIA_DRIVER_CAPABILITIES", "compute,utility,video");
        }
        else
        {
            Add("NVIDIA_VISIBLE_DEVICES", "void");
        }

        return env;
    }

    private static JsonObject Reference(string name, string kind, string source, string key) => new()
    {
        ["name"] = name,
        ["valueFrom"] = new JsonObject { [kind] = new JsonObject { ["name"] = source, ["key"] = key } },
    };

    private static JsonObject FieldReference(string name, string path) => new()
    {
        ["name"] = name,
        ["valueFrom"] = new JsonObject { ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = path } },
    };

    /// <summary>Whether a stage asks for a GPU.</summary>
    /// <param name="spec">The spec.</param>
    /// <param name="stage">The stage.</param>
    public static bool UsesGpu(ExperimentSpec spec, Stage stage) => GpusOf(spec, stage) > 0;

    /// <summary>GPUs of a stage: all that were asked for where several processes can train it together, else one.</summary>
    /// <param name="spec">The spec.</param>
    /// <param name="stage">The stage.</param>
    public static int GpusOf(ExperimentSpec spec, Stage stage) =>
        !stage.NeedsDevice || spec.Device == "cpu" ? 0 : stage.TakesRanks ? spec.Resources.Gpus : Math.Min(1, spec.Resources.Gpus);

    private static JsonArray Arguments(ExperimentSpec spec, Stage stage)
    {
        var arguments = new JsonArray("stage", "--plan", $"{PlanMount}/{PlanView.PlanKey}", "--stage", stage.Name);
        if (GpusOf(spec, stage) is > 1 and var ranks)
        {
            // One process a GPU, started and watched by one of the pod's own.
            arguments.Add("--ranks");
            arguments.Add(ranks.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        return arguments;
    }

    private static JsonObject Resources(ExperimentSpec spec, Stage stage)
    {
        var requests = new JsonObject { ["cpu"] = spec.Resources.Cpu, ["memory"] = spec.Resources.Memory };
        var limits = new JsonObject { ["memory"] = spec.Resources.Memory };
        if (spec.Resources.EphemeralStorage is { } scratch)
        {
            requests["ephemeral-storage"] = scratch;
            limits["ephemeral-storage"] = scratch;
        }

        if (UsesGpu(spec, stage))
        {
            string gpus = GpusOf(spec, stage).ToString(System.Globalization.CultureInfo.InvariantCulture);
            requests[spec.Resources.GpuResourceName] = gpus;
            limits[spec.Resources.GpuResourceName] = gpus;
        }

        return new JsonObject { ["requests"] = requests, ["limits"] = limits };
    }

    private static void AddScheduling(JsonObject pod, SchedulingSpec scheduling)
    {
        if (scheduling.NodeSelector is { Count: > 0 } selector)
        {
            pod["nodeSelector"] = new JsonObject(
                selector.OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => KeyValuePair.Create(s.Key, (JsonNode?)s.Value)));
        }

        if (scheduling.Tolerations is { Count: > 0 } tolerations)
        {
            pod["tolerations"] = JsonSerializer.SerializeToNode(tolerations, CoclrJson.Compact);
        }

        if (scheduling.Affinity is { Count: > 0 } terms)
        {
            pod["affinity"] = new JsonObject
            {
                ["nodeAffinity"] = new JsonObject
                {
                    ["requiredDuringSchedulingIgnoredDuringExecution"] = new JsonObject
                    {
                        ["nodeSelectorTerms"] = new JsonArray(new JsonObject
                        {
                            ["matchExpressions"] = new JsonArray([.. terms.Select(t => (JsonNode)new JsonObject
                            {
                                ["key"] = t.Key,
                                ["operator"] = "In",
                                ["values"] = new JsonArray([.. t.Values.Select(v => (JsonNode)v)]),
                            })]),
                        }),
                    },
                },
            };
        }

        if (scheduling.TopologySpread is { Count: > 0 } spread)
        {
            pod["topologySpreadConstraints"] = new JsonArray([.. spread.Select(t => (JsonNode)new JsonObject
            {
                ["topologyKey"] = t.TopologyKey,
                ["maxSkew"] = t.MaxSkew,
                ["whenUnsatisfiable"] = t.WhenUnsatisfiable.ToString(),
                ["labelSelector"] = new JsonObject { ["matchLabels"] = new JsonObject { ["app.kubernetes.io/name"] = StageName } },
            })]);
        }

        foreach ((string name, string? value) in new[] { ("priorityClassName", scheduling.PriorityClassName), ("runtimeClassName", scheduling.RuntimeClassName), ("schedulerName", scheduling.SchedulerName) })
        {
            if (value != null)
            {
                pod[name] = value;
            }
        }
    }

    private static JsonObject Mount(string name, string path, bool readOnly = false)
    {
        var mount = new JsonObject { ["name"] = name, ["mountPath"] = path };
        if (readOnly)
        {
            mount["readOnly"] = true;
        }

        return mount;
    }

    private static JsonObject Metadata(ObjectMeta experiment, string name, string run, ChildSettings settings, string? stage, bool owned)
    {
        JsonObject metadata = Describing(experiment, run, settings, stage);
        metadata["name"] = name;
        metadata["namespace"] = experiment.Key.Namespace;
        if (owned)
        {
            metadata["ownerReferences"] = new JsonArray(new JsonObject
            {
                ["apiVersion"] = ApiNames.ApiVersion,
                ["kind"] = ApiNames.Experiment,
                ["name"] = experiment.Key.Name,
                ["uid"] = experiment.Uid,
                ["controller"] = true,
                ["blockOwnerDeletion"] = true,
            });
        }

        return metadata;
    }

    /// <summary>The labels and annotations of a child: those that the operator lets through, and its own over them.</summary>
    private static JsonObject Describing(ObjectMeta experiment, string run, ChildSettings settings, string? stage)
    {
        var metadata = new JsonObject { ["labels"] = LabelsOf(experiment, run, settings, stage) };
        if (Allowed(experiment.Annotations, settings.Propagation.Annotation) is { Count: > 0 } annotations)
        {
            metadata["annotations"] = annotations;
        }

        return metadata;
    }

    /// <summary>The entries of a map whose keys are allowed.</summary>
    /// <param name="entries">Labels or annotations.</param>
    /// <param name="allowed">Which keys are.</param>
    public static JsonObject Allowed(IReadOnlyDictionary<string, string> entries, Func<string, bool> allowed) =>
        new(
            entries.Where(e => allowed(e.Key)).OrderBy(e => e.Key, StringComparer.Ordinal)
                .Select(e => KeyValuePair.Create(e.Key, (JsonNode?)e.Value)));

    private static JsonObject LabelsOf(ObjectMeta experiment, string run, ChildSettings settings, string? stage)
    {
        JsonObject labels = Allowed(experiment.Labels, settings.Propagation.Label);
        labels["app.kubernetes.io/name"] = StageName;
        labels["app.kubernetes.io/instance"] = experiment.Key.Name;
        labels["app.kubernetes.io/version"] = settings.Version;
        labels["app.kubernetes.io/component"] = stage == null ? "run" : "stage";
        labels["app.kubernetes.io/part-of"] = "coclr-platform";
        labels["app.kubernetes.io/managed-by"] = Labels.Manager;
        labels[Labels.Experiment] = ChildNames.LabelValue(experiment.Key.Name);
        labels[Labels.ExperimentUid] = experiment.Uid;
        labels[Labels.Run] = run;
        if (stage != null)
        {
            labels[Labels.Stage] = stage;
        }

        if (experiment.Label(Labels.Benchmark) is { } benchmark)
        {
            labels[Labels.Benchmark] = benchmark;
        }

        return labels;
    }
}
