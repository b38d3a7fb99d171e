package deploy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const kubernetesDir = "../../deploy/kubernetes"

// decode reads one manifest by the types of Kubernetes itself, strictly: a field that
// there is not, or that is given twice, is an error.
func decode(t *testing.T, where string, text []byte) runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, batch.AddToScheme, networking.AddToScheme, policy.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v\n%s", where, err, text)
	}
	return object
}

// manifests are the documents of a file.
func manifests(t *testing.T, path string) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	for doc := range bytes.SplitSeq(read(t, path), []byte("\n---\n")) {
		out = append(out, decode(t, path, doc))
	}
	return out
}

// builtFrom is what `kubectl apply -k` would apply, by the same code.
func builtFrom(t *testing.T, dir string) []runtime.Object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []runtime.Object
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, decode(t, dir+" "+r.CurId().String(), text))
	}
	return out
}

// only returns those of one type.
func only[T runtime.Object](objects []runtime.Object) []T {
	var out []T
	for _, o := range objects {
		if of, ok := o.(T); ok {
			out = append(out, of)
		}
	}
	return out
}

// overlays are those that can be applied.
func overlays() []string {
	return []string{filepath.Join(kubernetesDir, "base"), filepath.Join(kubernetesDir, "redis-cluster")}
}

// Every manifest is in use, or is one of those that are applied by hand, and all are
// what Kubernetes takes.
func TestManifestsAreTaken(t *testing.T) {
	t.Parallel()
	for _, dir := range overlays() {
		builtFrom(t, dir)
	}
	for _, path := range []string{"secrets.example.yaml", "optional/podmonitor.yaml"} {
		manifests(t, filepath.Join(kubernetesDir, path))
	}
	var base struct{ Resources []string }
	unmarshal(t, filepath.Join(kubernetesDir, "base", "kustomization.yaml"), &base)
	files, err := filepath.Glob(filepath.Join(kubernetesDir, "base", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if others := []string{"kustomization.yaml", "retryd.yaml", "policies.yaml"}; !slices.Contains(others, name) && !slices.Contains(base.Resources, name) {
			t.Errorf("%s is applied by nobody", name)
		}
	}
}

// Pods have no rights that they do not need.
func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	for _, dir := range overlays() {
		objects := builtFrom(t, dir)
		pods := make(map[string]core.PodSpec)
		for _, d := range only[*apps.Deployment](objects) {
			pods[d.Name] = d.Spec.Template.Spec
		}
		for _, s := range only[*apps.StatefulSet](objects) {
			pods[s.Name] = s.Spec.Template.Spec
		}
		for _, j := range only[*batch.Job](objects) {
			pods[j.Name] = j.Spec.Template.Spec
		}
		for name, pod := range pods {
			sc := pod.SecurityContext
			if sc == nil || sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot || sc.SeccompProfile == nil || sc.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: pod %s may be root, or call all of the kernel: %+v", dir, name, sc)
			}
			if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Errorf("%s: pod %s is given a token of Kubernetes", dir, name)
			}
			for _, c := range pod.Containers {
				sc := c.SecurityContext
				if sc == nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem ||
					sc.Capabilities == nil || !slices.Equal(sc.Capabilities.Drop, []core.Capability{"ALL"}) {
					t.Errorf("%s: container %s of %s has more rights than it needs: %+v", dir, c.Name, name, sc)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s: container %s of %s may take what it likes: %+v", dir, c.Name, name, c.Resources)
				}
			}
		}
	}
}

// Ports, labels, times and files of the manifests fit together, and fit the settings
// that they hold.
func TestManifestsFitTogether(t *testing.T) {
	t.Parallel()
	for _, dir := range overlays() {
		objects := builtFrom(t, dir)
		retryd := only[*apps.Deployment](objects)[0]
		pod := retryd.Spec.Template
		container := pod.Spec.Containers[0]
		for _, s := range only[*core.Service](objects) {
			if s.Name == "retryd" && (s.Spec.ClusterIP != core.ClusterIPNone || !matches(s.Spec.Selector, pod.Labels)) {
				t.Errorf("%s: the service leads not to every pod: %+v", dir, s.Spec)
			}
			// A mesh would speak clear text to it.
			if says := s.Spec.Ports[0].AppProtocol; s.Name == "retryd" && says != nil && settingsOf(t, objects)["tls-cert"] != nil {
				t.Errorf("%s: the service speaks TLS, and says %s", dir, *says)
			}
		}
		for _, b := range only[*policy.PodDisruptionBudget](objects) {
			if b.Name == "retryd" && !matches(b.Spec.Selector.MatchLabels, pod.Labels) {
				t.Errorf("%s: the budget is of other pods: %+v", dir, b.Spec)
			}
		}
		policies := 0
		for _, n := range only[*networking.NetworkPolicy](objects) {
			if matches(n.Spec.PodSelector.MatchLabels, pod.Labels) {
				policies++
			}
		}
		if policies != 1 {
			t.Errorf("%s: %d network policies are for the pods", dir, policies)
		}

		settings := settingsOf(t, objects)
		for _, port := range container.Ports {
			setting := map[string]string{"grpc": "listen", "admin": "admin-listen"}[port.Name]
			if want := fmt.Sprintf(":%d", port.ContainerPort); !strings.HasSuffix(settings[setting].(string), want) {
				t.Errorf("%s: port %s is %d, and %s is %v", dir, port.Name, port.ContainerPort, setting, settings[setting])
			}
		}
		stops := container.Lifecycle.PreStop.Sleep.Seconds + int64(duration(t, settings["drain-timeout"]).Seconds())
		if grace := *pod.Spec.TerminationGracePeriodSeconds; grace < stops+10 {
			t.Errorf("%s: it is killed after %d s, and may need %d s", dir, grace, stops)
		}
		for name, value := range settings {
			path, ok := value.(string)
			if !ok || !strings.HasPrefix(path, "/") {
				continue
			}
			if !slices.ContainsFunc(container.VolumeMounts, func(m core.VolumeMount) bool {
				return m.MountPath == path || m.SubPath == "" && m.MountPath == filepath.Dir(path)
			}) {
				t.Errorf("%s: %s is %s, which is mounted nowhere", dir, name, path)
			}
		}
	}
	monitor := only[*monitoring.PodMonitor](manifests(t, filepath.Join(kubernetesDir, "optional", "podmonitor.yaml")))[0]
	pod := only[*apps.Deployment](builtFrom(t, filepath.Join(kubernetesDir, "base")))[0].Spec.Template
	if !matches(monitor.Spec.Selector.MatchLabels, pod.Labels) || pod.Labels[monitor.Spec.JobLabel] != "retryd" {
		t.Errorf("the monitor is of other pods, or calls the job something else: %+v", monitor.Spec)
	}
}

// The secrets of the example are those that the pods are given.
func TestSecretsAreThoseThatAreMounted(t *testing.T) {
	t.Parallel()
	shown := make(map[string]map[string]string)
	for _, s := range only[*core.Secret](manifests(t, filepath.Join(kubernetesDir, "secrets.example.yaml"))) {
		shown[s.Name] = s.StringData
	}
	objects := builtFrom(t, filepath.Join(kubernetesDir, "base"))
	retryd := only[*apps.Deployment](objects)[0].Spec.Template.Spec
	mounted := make(map[string]string)
	for _, v := range retryd.Volumes {
		if v.Secret == nil {
			continue
		}
		for _, m := range retryd.Containers[0].VolumeMounts {
			if m.Name == v.Name {
				mounted[v.Secret.SecretName] = m.MountPath
			}
		}
	}
	if len(mounted) != len(shown) {
		t.Errorf("%d secrets are mounted, and %d are shown", len(mounted), len(shown))
	}
	for _, value := range settingsOf(t, objects) {
		path, _ := value.(string)
		for secret, dir := range mounted {
			if name, ok := strings.CutPrefix(path, dir+"/"); ok && shown[secret][name] == "" {
				t.Errorf("%s is to be in the secret %s, and the example has no %s", path, secret, name)
			}
		}
	}
}

// The pods start: the settings, and all that they name, are taken by the binary itself.
func TestSettingsOfThePodsAreTaken(t *testing.T) {
	t.Parallel()
	retryd := filepath.Join(t.TempDir(), "retryd")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", retryd, "./cmd/retryd")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build retryd: %v\n%s", err, out)
	}
	for _, dir := range overlays() {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files := make(map[string][]byte)
			for _, m := range only[*core.ConfigMap](builtFrom(t, dir)) {
				for name, text := range m.Data {
					files[name] = []byte(strings.ReplaceAll(text, "/etc/retryd", root))
				}
			}
			for _, s := range only[*core.Secret](manifests(t, filepath.Join(kubernetesDir, "secrets.example.yaml"))) {
				for name, text := range s.StringData {
					files[filepath.Join(strings.TrimPrefix(s.Name, "retryd-"), name)] = []byte(text)
				}
			}
			// The example has no certificate.
			files[filepath.Join("tls", "tls.crt")], files[filepath.Join("tls", "tls.key")] = certificate(t)
			for name, text := range files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			check := exec.CommandContext(t.Context(), retryd, "config", "check", "--config", filepath.Join(root, "retryd.yaml"))
			check.Env = []string{"PATH=" + os.Getenv("PATH")}
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// certificate is one that nobody trusts, and its key, as PEM.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"retryd"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// The policies are the ready-made ones for webhooks; kustomize takes no file from
// beside its directory.
func TestPoliciesAreTheReadyMadeOnes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(read(t, filepath.Join(kubernetesDir, "base", "policies.yaml")), read(t, "../../deploy/policies/webhook.yaml")) {
		t.Error("deploy/kubernetes/base/policies.yaml is not deploy/policies/webhook.yaml any more")
	}
}

// settingsOf is the configuration that the pods are started with.
func settingsOf(t *testing.T, objects []runtime.Object) map[string]any {
	t.Helper()
	for _, m := range only[*core.ConfigMap](objects) {
		if text, ok := m.Data["retryd.yaml"]; ok {
			settings := make(map[string]any)
			if err := yaml.UnmarshalStrict([]byte(text), &settings); err != nil {
				t.Fatal(err)
			}
			return settings
		}
	}
	t.Fatal("there is no configuration")
	return nil
}

// matches says whether a selector that selects something selects what has labels.
func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

func duration(t *testing.T, setting any) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(fmt.Sprint(setting))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
