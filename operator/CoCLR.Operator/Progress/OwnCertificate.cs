// Why this exists: without cert-manager and without a certificate of their own people still want TLS for progress; the operator makes one,
// once.
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace CoCLR.Operator.Progress;

/// <summary>Makes the certificate of the progress endpoint, and renews it under the same authority.</summary>
internal static class OwnCertificate
{
    /// <summary>Keys of the Secret: those of kubernetes.io/tls, the authority, and its key for renewing.</summary>
    public const string Leaf = "tls.crt", LeafKey = "tls.key", Authority = "ca.crt", AuthorityKey = "ca.key";

    private static readonly TimeSpan Renewal = TimeSpan.FromDays(60);

    /// <summary>A new authority and a certificate for a host.</summary>
    public static Dictionary<string, byte[]> Make(string host, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=coclr-operator progress", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using X509Certificate2 authority = request.CreateSelfSigned(now.AddHours(-1), now.AddYears(20));
        return Sign(authority, Pem(authority), host, now, key.ExportPkcs8PrivateKeyPem());
    }

    /// <summary>
    /// The same Secret with a certificate that is good for longer or for another host; null while the one it has will do.
    /// </summary>
    public static Dictionary<string, byte[]>? Renew(IReadOnlyDictionary<string, byte[]> data, string host, DateTimeOffset now)
    {
        if (!data.TryGetValue(AuthorityKey, out byte[]? key) || !data.TryGetValue(Authority, out byte[]? authority))
        {
            return null; // somebody else's
        }

        using X509Certificate2 leaf = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(data[Leaf]));
        if (leaf.NotAfter.ToUniversalTime() - now.UtcDateTime > Renewal && leaf.MatchesHostname(host))
        {
            return null;
        }

        string keyText = Encoding.ASCII.GetString(key);
        using X509Certificate2 signer = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(authority), keyText);
        return Sign(signer, Encoding.ASCII.GetString(authority), host, now, keyText);
    }

    private static Dictionary<string, byte[]> Sign(
        X509Certificate2 authority, string authorityPem, string host, DateTimeOffset now, string authorityKey)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=coclr-operator", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(host);
        if (host.EndsWith(".svc", StringComparison.Ordinal))
        {
            names.AddDnsName(host + ".cluster.local");
        }

        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false));
        using X509Certificate2 leaf = request.Create(authority, now.AddHours(-1), now.AddYears(1), RandomNumberGenerator.GetBytes(16));
        return new Dictionary<string, byte[]>
        {
            [Leaf] = Encoding.ASCII.GetBytes(Pem(leaf)),
            [LeafKey] = Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"),
            [Authority] = Encoding.ASCII.GetBytes(authorityPem),
            [AuthorityKey] = Encoding.ASCII.GetBytes(authorityKey),
        };
    }

    private static string Pem(X509Certificate2 certificate) => certificate.ExportCertificatePem() + "\n";
}
